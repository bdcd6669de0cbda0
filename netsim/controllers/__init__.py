"""The control loops of kube-controller-manager, of the scheduler and of the API server's allocators.

``controller`` says what a controller is, ``manager`` runs them, ``standard`` lists them. A controller reads
the store and says what to write; it knows no packet, no clock and no other controller.
"""
