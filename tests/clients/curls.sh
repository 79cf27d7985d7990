# The requests of the documents, as they stand there; a line that begins with "## " names the one below it. The two that the
# documents show without curl (000, step 1) have the same bodies and headers. Ports lead to the server of the story, and what
# stands in braces is put in.

## 000 register A
curl -X POST http://localhost:8002/partners/register/findyourwork \
  -H "Content-Type: application/json" \
  -d '{
  "webhook_url": "http://localhost:8000/webhooks/partner/",
  "contact_email": "dev@findyourwork.com"
}'

## 000 register B
curl -X POST http://localhost:8002/partners/register \
  -H "Content-Type: application/json" \
  -d '{
  "partner_name": "FindyourWork",
  "webhook_url": "http://localhost:8000/webhooks/partner/",
  "events": [
    "event.reservation_confirmed",
    "event.updated",
    "event.cancelled",
    "payment.success"
  ],
  "contact_email": "dev@findyourwork.com"
}'

## 000 status
curl http://localhost:8002/partners/findyourwork/status

## 000 notify
curl -X POST http://localhost:8002/partners/findyourwork/notify-event \
  -H "Content-Type: application/json" \
  -d '{
  "reservation_id": "RES-2026-001",
  "event_name": "Cena Corporativa TechCorp",
  "date": "2026-02-15",
  "time": "19:00",
  "guests": 50,
  "contact_name": "María García",
  "contact_phone": "0991234567",
  "contact_email": "maria@techcorp.com",
  "services_requested": ["dj", "decoracion", "fotografia"],
  "notes": "Celebración de aniversario"
}'

## 000 test 1
curl -X POST http://localhost:8002/partners/findyourwork/send-webhook \
  -H "Content-Type: application/json" \
  -d '{
    "event_type": "event.reservation_confirmed",
    "data": {
      "reservation_id": "RES-TEST-001",
      "event_name": "Test Event",
      "date": "2026-02-15",
      "guests": 30
    }
  }'

## 000 test 2
curl -X POST http://localhost:8000/webhooks/partner/ \
  -H "Content-Type: application/json" \
  -H "X-Partner-ID: findyourwork" \
  -H "X-Partner-Signature: test" \
  -d '{
    "event_type": "service.booked_for_event",
    "data": {
      "external_event_id": "RES-TEST-001",
      "service_name": "DJ Test",
      "price": 150
    }
  }'

## 001 create
curl -X POST http://localhost:5001/api/v1/partners \
  -H "Content-Type: application/json" \
  -d '{
    "nombre": "Empresa ABC",
    "email": "contacto@empresaabc.com",
    "telefono": "+57 300 123 4567",
    "direccion": "Calle 123 #45-67, Bogotá"
  }'

## 001 kyc
curl -X PUT http://localhost:5001/api/v1/partners/{partner_id}/kyc \
  -H "Content-Type: application/json" \
  -d '{
    "estado_kyc": "APROBADO",
    "documentos": {
      "cedula": "documento_cedula.pdf",
      "rut": "documento_rut.pdf"
    },
    "comentarios": "Documentos verificados correctamente"
  }'

## 001 integration
curl -X POST http://localhost:5001/api/v1/partners/{partner_id}/integraciones \
  -H "Content-Type: application/json" \
  -d '{
    "tipo": "API",
    "nombre": "Integración API REST",
    "descripcion": "Integración para sincronización de datos",
    "configuracion": {
      "endpoint": "https://api.partner.com/webhook",
      "api_key": "secret_key_here"
    }
  }'

## 001 revoke
curl -X PUT http://localhost:5001/api/v1/partners/integraciones/{integracion_id}/revocar \
  -H "Content-Type: application/json" \
  -d '{
    "motivo": "Cambio de proveedor de servicios"
  }'

## 004 from the CRM
curl -X POST http://localhost:8000/api/test-webhook/ \
  -H "Authorization: Bearer YOUR_TOKEN" \
  -H "Content-Type: application/json"

## 004 from the application
curl -X POST http://localhost:8001/api/webhook-presencia-crm/ \
  -H "X-CRM-Webhook-Token: your-secret-webhook-token-here" \
  -H "Content-Type: application/json" \
  -d '{
    "id_presencia_crm": "TEST-001",
    "cliente": {
      "nombres_completos_razon_social": "Cliente Test",
      "tipo_documento": "DNI",
      "numero_documento": "12345678",
      "telefono_principal": "999888777"
    },
    "fecha_hora_presencia": "2024-01-15T14:30:00",
    "proyecto_interes": "OASIS 2 (AUCALLAMA)",
    "medio_captacion": "campo_opc",
    "modalidad": "presencial",
    "status_presencia": "realizada"
  }'
