"""django-post_office rendering and sending mail: run by its own environment, not by ours.

``python sending_by_django.py FOLDER PORT COUNT`` prints the CPU microseconds that a message costs.
"""

import sys
import time
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command

TEXT = (
    "Hi {{ first_name }},\n\nI saw that {{ company }} is growing in {{ city }}.\n\nWORDS\n\nIda\n"
)
HTML = (
    "<p>Hi {{ first_name }},</p><p>I saw that {{ company }} is growing in {{ city }}.</p>"
    "<p>WORDS</p>"
)
WORDS = "Some words that go on for a while, as they do in messages of this kind. " * 8


def main(folder: Path, port: int, count: int) -> None:
    """`count` messages are queued, rendered and sent."""
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / "post_office.db"}
    settings.configure(
        DATABASES={"default": database},
        INSTALLED_APPS=["django.contrib.contenttypes", "post_office"],
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        EMAIL_BACKEND="post_office.EmailBackend",
        POST_OFFICE={
            "BACKENDS": {"default": "django.core.mail.backends.smtp.EmailBackend"},
            "BATCH_SIZE": count,
            "LOG_LEVEL": 1,
            "THREADS_PER_PROCESS": 4,
        },
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=port,
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        SECRET_KEY="a key for benchmarks",
        USE_TZ=True,
    )
    django.setup()
    call_command("migrate", verbosity=0)
    from post_office import mail
    from post_office.models import EmailTemplate

    template = EmailTemplate.objects.create(
        name="intro",
        subject="{{ company }} and pipeline hygiene",
        content=TEXT.replace("WORDS", WORDS),
        html_content=HTML.replace("WORDS", WORDS),
    )
    begun = time.process_time()
    mail.send_many(
        [
            {
                "sender": "Ida Berg <ida@acme.example>",
                "recipients": [f"lead{n}@company{n}.example"],
                "template": template,
                "context": {"first_name": "Ann", "company": f"Company {n}", "city": "Bergen"},
                "headers": {"List-Unsubscribe": f"<https://t.acme.example/u/{n}>"},
            }
            for n in range(count)
        ]
    )
    sent, failed, _ = mail.send_queued(processes=1)
    spent = time.process_time() - begun
    if (sent, failed) != (count, 0):
        sys.exit(f"{sent} sent, {failed} failed")
    print(spent / count * 1e6)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
