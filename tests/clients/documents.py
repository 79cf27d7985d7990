"""What the two ends of document 000 run, as it stands there: senders and verifiers, with requests and httpx.

Django's models and FastAPI's routes are replaced by the few values that these functions take from them; what they put on the
wire and what they sign is unchanged.

    documents.py send requests|httpx|standard URL SECRET   a webhook; prints the status and the body of the answer
    documents.py verify SECRET                             reads {"headers", "body"}; prints who accepts it
    documents.py vectors                                   the signatures of appendix 1
"""

import asyncio
import hashlib
import hmac
import json
import sys
from datetime import datetime, timezone

import httpx
import requests
from standardwebhooks import Webhook, WebhookVerificationError

DATA = {
    "external_event_id": "RES-2026-001",
    "service_name": "Decoración",
    "price": 250.0,
    "provider": {"id": 456, "name": "DJ Sounds Pro", "rating": 4.8},
}


class Partner:
    """The row that the senders look up."""

    def __init__(self, webhook_url, webhook_secret):
        self.webhook_url = webhook_url
        self.webhook_secret = webhook_secret


def send_to_chuwue_grill(partner, event_type, data):
    """marlon/Backend/Python/api_rest/services/webhook_sender.py"""
    payload = {
        "event_type": event_type,
        "timestamp": datetime.utcnow().isoformat() + "Z",
        "source": "findyourwork",
        "data": data,
    }

    # Firmar payload
    payload_str = json.dumps(payload, sort_keys=True)
    signature = hmac.new(
        partner.webhook_secret.encode(),
        payload_str.encode(),
        hashlib.sha256,
    ).hexdigest()

    return requests.post(
        partner.webhook_url,
        json=payload,
        headers={
            "Content-Type": "application/json",
            "X-HMAC-Signature": signature,
            "X-Partner-ID": "findyourwork",
        },
        timeout=30,
    )


def sign_payload(payload, secret):
    """backend/payment_service/utils/hmac_signer.py, which the document imports: sorted and compact."""
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"))
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


async def notify(url, partner_id, event_type, data, partner_secret):
    """backend/payment_service/utils/partner_notifier.py, to whichever end."""
    payload = {
        "event_type": event_type,
        "timestamp": datetime.now(timezone.utc).isoformat(),
        "source": "chuwue-grill",
        "data": data,
    }

    signature = sign_payload(payload, partner_secret)

    async with httpx.AsyncClient(timeout=30.0) as client:
        return await client.post(
            url,
            json=payload,
            headers={
                "Content-Type": "application/json",
                "X-Partner-Signature": signature,
                "X-Partner-ID": partner_id,
            },
        )


def verify_signature(body, signature, shared_secret):
    """The receiver in the document: over the bytes, before anything reads them."""
    expected = hmac.new(shared_secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, signature)


def verify_rewritten(body, signature, webhook_secret):
    """The receiver of FindyourWork: over what it read, written again as its sender writes it."""
    payload_str = json.dumps(json.loads(body), sort_keys=True)
    expected = hmac.new(webhook_secret.encode(), payload_str.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, signature.removeprefix("sha256="))


def verify_standard(body, headers, secret):
    try:
        Webhook(secret).verify(body, headers)
        return True
    except WebhookVerificationError:
        return False


def send_standard(url, secret):
    body = json.dumps({"event_type": "service.booked_for_event", "data": DATA}, ensure_ascii=False)
    now = datetime.now(timezone.utc)
    headers = {
        "Content-Type": "application/json",
        "X-Partner-ID": "findyourwork",
        "webhook-id": "msg_python",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_python", now, body),
    }
    return requests.post(url, data=body.encode(), headers=headers, timeout=30)


def send(sender, url, secret):
    event_type = "service.booked_for_event"
    if sender == "requests":
        answer = send_to_chuwue_grill(Partner(url, secret), event_type, DATA)
    elif sender == "httpx":
        answer = asyncio.run(notify(url, "findyourwork", event_type, DATA, secret))
    else:
        answer = send_standard(url, secret)
    return {"status": answer.status_code, "body": answer.json()}


def verify(secret):
    webhook = json.load(sys.stdin)
    headers, body = webhook["headers"], webhook["body"].encode()
    return {
        "raw": verify_signature(body, headers["x-partner-signature"], secret),
        "rewritten": verify_rewritten(body, headers["x-hmac-signature"], secret),
        "standard": verify_standard(body, headers, secret),
    }


def vectors():
    secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
    payload = {
        "event_type": "service.booked_for_event",
        "timestamp": "2026-01-19T16:00:00Z",
        "source": "findyourwork",
        "data": DATA,
    }
    # The bytes as the two libraries really send them.
    wires = {
        "A": requests.Request("POST", "http://localhost", json=payload).prepare().body,
        "B": httpx.Request("POST", "http://localhost", json=payload).content,
        "C": json.dumps(payload, sort_keys=True).encode(),
        "D": json.dumps(payload, sort_keys=True, separators=(",", ":")).encode(),
    }
    as_bytes = {name: wire if isinstance(wire, bytes) else wire.encode() for name, wire in wires.items()}
    hexes = {name: hmac.new(secret.encode(), wire, hashlib.sha256).hexdigest() for name, wire in as_bytes.items()}
    at = datetime.fromtimestamp(1768838400, timezone.utc)
    standard = Webhook(secret).sign("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", at, as_bytes["C"].decode())
    return {"wires": {name: wire.decode() for name, wire in as_bytes.items()}, "hex": hexes, "standard": standard}


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    print(json.dumps({"send": send, "verify": verify, "vectors": vectors}[command](*arguments)))
