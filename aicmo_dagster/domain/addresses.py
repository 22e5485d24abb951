"""What kind of address an address is: a person's at a company, or one that says little of either.

Not here: what an address is at all (`normalise`, `tokens`).
"""

import pyarrow
import pyarrow.compute as pc
from disposable_email_domains import blocklist

from aicmo_dagster.domain.normalise import address_domains

FREE_MAIL = (
    *("gmail.com", "googlemail.com", "icloud.com", "me.com", "mac.com", "aol.com"),
    *("outlook.com", "hotmail.com", "live.com", "msn.com", "passport.com"),
    *("outlook.de", "outlook.fr", "outlook.es", "outlook.it", "outlook.dk", "outlook.com.br"),
    *("hotmail.co.uk", "hotmail.de", "hotmail.fr", "hotmail.es", "hotmail.it", "hotmail.no"),
    *("hotmail.se", "hotmail.dk", "live.co.uk", "live.de", "live.fr", "live.it", "live.nl"),
    *("live.no", "live.se", "live.dk", "live.be"),
    *("yahoo.com", "ymail.com", "rocketmail.com", "yahoo.co.uk", "yahoo.de", "yahoo.fr"),
    *("yahoo.es", "yahoo.it", "yahoo.se", "yahoo.no", "yahoo.dk", "yahoo.ca", "yahoo.in"),
    *("yahoo.co.in", "yahoo.co.jp", "yahoo.com.au", "yahoo.com.br", "yahoo.com.mx"),
    *("proton.me", "protonmail.com", "protonmail.ch", "pm.me", "tutanota.com", "tuta.io"),
    *("tuta.com", "fastmail.com", "fastmail.fm", "hey.com", "zoho.com", "zohomail.com"),
    *("mail.com", "email.com", "gmx.com", "gmx.de", "gmx.net", "gmx.at", "gmx.ch", "web.de"),
    *("t-online.de", "freenet.de", "arcor.de", "posteo.de", "mailbox.org"),
    *("orange.fr", "wanadoo.fr", "free.fr", "laposte.net", "sfr.fr"),
    *("libero.it", "virgilio.it", "tiscali.it", "telenet.be", "skynet.be", "ziggo.nl"),
    *("btinternet.com", "sky.com", "virginmedia.com", "ntlworld.com", "talktalk.net"),
    *("comcast.net", "verizon.net", "att.net", "sbcglobal.net", "bellsouth.net", "cox.net"),
    *("rogers.com", "shaw.ca", "bigpond.com", "online.no", "telia.com", "bluewin.ch"),
    *("wp.pl", "o2.pl", "onet.pl", "interia.pl", "seznam.cz", "yandex.com", "yandex.ru"),
    *("mail.ru", "bk.ru", "inbox.ru", "list.ru", "rambler.ru", "ukr.net"),
    *("qq.com", "163.com", "126.com", "sina.com", "naver.com", "daum.net", "hanmail.net"),
    *("rediffmail.com", "uol.com.br", "bol.com.br", "terra.com.br"),
)
"""Domains at which anybody may have an address, so that they tell nothing of a company."""

ROLES = (
    # RFC 2142: business, network operations, and the services' own mailboxes.
    *("info", "marketing", "sales", "support", "abuse", "noc", "security", "postmaster"),
    *("hostmaster", "usenet", "news", "webmaster", "www", "uucp", "ftp"),
    # The usual ones beside them, in the languages of Western Europe too.
    *("admin", "administration", "administrator", "root", "sysadmin", "it", "helpdesk"),
    *("contact", "contacts", "contactus", "contact-us", "hello", "hi", "mail", "email", "office"),
    *("enquiries", "enquiry", "inquiries", "inquiry", "reception", "general", "team", "all"),
    *("accounting", "accounts", "accountspayable", "billing", "finance", "invoice", "invoices"),
    *("payments", "payroll", "orders", "order", "purchasing", "procurement", "shop", "store"),
    *("careers", "career", "jobs", "job", "hr", "humanresources", "recruiting", "recruitment"),
    *("press", "media", "pr", "editor", "newsletter", "events", "partners", "partnerships"),
    *("legal", "privacy", "compliance", "dpo", "gdpr", "feedback", "service", "services"),
    *("customerservice", "customer-service", "customercare", "care", "success", "booking"),
    *("bookings", "reservations", "welcome", "noreply", "no-reply", "donotreply", "do-not-reply"),
    *("mailer-daemon", "bounce", "bounces", "unsubscribe", "subscribe", "spam", "test"),
    *("kontakt", "post", "firmapost", "faktura", "ordre", "salg", "kundeservice", "resepsjon"),
    *("buchhaltung", "bewerbung", "vertrieb", "verkauf", "rechnung", "zentrale", "datenschutz"),
    *("contacto", "ventas", "administracion", "comercial", "contato", "vendas", "financeiro"),
    *("accueil", "bonjour", "commercial", "compta", "comptabilite", "facturation", "secretariat"),
    *("amministrazione", "commerciale", "segreteria", "vendite", "verkoop", "administratie"),
)
"""Local parts that many people read, or nobody: RFC 2142, and the usual ones beside it."""


def address_kinds(addresses: pyarrow.Array) -> pyarrow.Array:
    """The kind of each normalised address, of `ADDRESS_KINDS` the first that fits; none of none.

    A tag (``sales+spring@``) does not hide a role.
    """
    domains = address_domains(addresses)
    locals_ = pc.struct_field(pc.extract_regex(addresses, r"^(?P<local>[^@+]+)"), 0)
    conditions = {
        "disposable": pc.is_in(domains, value_set=pyarrow.array(sorted(blocklist))),
        "role": pc.is_in(locals_, value_set=pyarrow.array(ROLES)),
        "free": pc.is_in(domains, value_set=pyarrow.array(FREE_MAIL)),
        "company": addresses.is_valid(),
    }
    return pc.case_when(pc.make_struct(*conditions.values()), *conditions)
