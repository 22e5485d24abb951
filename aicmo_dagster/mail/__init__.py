"""Mail: messages built, and handed to an SMTP server or an outbox folder.

Not here: which message is due (`domain.nurture`), its words (`domain.markdown`), or the ledger of
sends (`store.ledger`).
"""
