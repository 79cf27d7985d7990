# SECRET: whsec_ and base64; the key is what the base64 means. URL and PARTNER: as you were told.
BODY='{"event_type": "service.confirmed", "timestamp": "2026-01-19T16:00:00Z", "data": {"external_event_id": "RES-2026-001", "service_id": 123}}'
ID="msg_$(openssl rand -hex 12)"  # the same for every attempt
TIME=$(date +%s)                  # of this attempt
KEY=$(printf '%s' "${SECRET#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
SIGNATURE=$(printf '%s.%s.%s' "$ID" "$TIME" "$BODY" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$KEY" -binary | openssl base64 -A)
curl -sS -X POST "$URL" -H 'Content-Type: application/json' -H "X-Partner-ID: $PARTNER" -H "webhook-id: $ID" \
  -H "webhook-timestamp: $TIME" -H "webhook-signature: v1,$SIGNATURE" --data-binary "$BODY"
