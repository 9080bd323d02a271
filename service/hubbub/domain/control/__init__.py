"""What administrators and moderators order, on every node: the control log followed and applied, sanctions, the audit
log. `service.Control` is what everybody else uses.
"""
