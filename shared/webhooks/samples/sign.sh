# SECRET: the whole text, whsec_ included. URL and PARTNER: as you were told.
BODY='{"event_type": "service.confirmed", "timestamp": "2026-01-19T16:00:00Z", "data": {"external_event_id": "RES-2026-001", "service_id": 123}}'
SIGNATURE=$(printf '%s' "$BODY" | openssl dgst -sha256 -hmac "$SECRET" -r | cut -d ' ' -f 1)
curl -sS -X POST "$URL" -H 'Content-Type: application/json' -H "X-Partner-ID: $PARTNER" \
  -H "X-Partner-Signature: $SIGNATURE" --data-binary "$BODY"
