failures-title = Fallos
failures-total = { $count ->
    [one] 1 mensaje falló o rebotó.
   *[other] { $count } mensajes fallaron o rebotaron.
}
failures-say = Lo que aún se intenta no está aquí; lo que llegó por otro canal, sí.
failures-empty = Nada falló en este período
failures-empty-help = Aquí se ve por qué no llega un mensaje: canal, cuenta y código, con lo que significa y lo que se hace.
failures-hours-1 = 1 hora
failures-hours-24 = 24 horas
failures-hours-168 = 7 días
failures-hours-720 = 30 días
cause = Causa
count = Cuántos
over-time = Cuándo fallaron
first = Primero
last = Último
example = Un ejemplo:
no-code = sin código
code-unknown = Esta versión no conoce el código.
dead-of-lane = Tareas muertas de este carril
messages-title = Mensajes
message-title = Mensaje
messages-count = { $count ->
    [one] 1 mensaje
   *[other] { $count } mensajes
}
messages-count-more = Más de { $count } mensajes
messages-new = { $count ->
    [one] Mostrar 1 nuevo
   *[other] Mostrar { $count } nuevos
}
messages-new-more = Mostrar más de { $count } nuevos
messages-empty = Ningún mensaje coincide
messages-empty-help = Aquí está lo que se envió, espera o falló, en cuanto se acepta un evento. Amplíe el período o quite un filtro. Para enviar el ejemplo desde una terminal:
message-more-filters = Más filtros
message-channel = Canal
message-event = Evento
message-event-appointment-scheduled = Cita agendada
message-event-vehicle-received = Vehículo recibido
message-event-repair-started = Reparación iniciada
message-event-quality-check = Control de calidad
message-event-vehicle-ready = Vehículo listo
message-event-maintenance-reminder = Recordatorio de mantenimiento
message-event-maintenance-overdue = Mantenimiento vencido
message-event-custom = Texto propio
message-customer = Cliente
message-account = Cuenta
message-code = Código de error
message-workshop = Taller
message-to = Para
message-status-pending = en reserva
message-status-queued = en camino
message-status-sent = enviado
message-status-delivered = entregado
message-status-read = leído
message-status-bounced = rebotó
message-status-failed = falló
message-status-cancelled = cancelado
message-chain = Canales, en el orden en que se intentan
message-awaits-delivered = espera «entregado» hasta
message-awaits-read = espera «leído» hasta
message-held-until = La pausa termina
message-next = Qué sigue
message-resend = Reenviar
message-resend-says = El mismo texto a la misma dirección, como un mensaje nuevo. El permiso se comprueba otra vez.
message-cancel-says = No sale nada, por ningún canal. Se puede deshacer.
message-retry-says = La cadena empieza de nuevo con su primer canal.
message-that-one = Ese mensaje
message-lift = Levantarla
message-answer = Respuesta del proveedor
message-changed = cambió después
message-what-it-means = Qué significa el error y qué se hace
message-alike = { $count ->
    [0] Ningún otro falló así en 24 horas
    [one] 1 más falló así en 24 horas
   *[other] { $count } más fallaron así en 24 horas
}
message-why = Por qué estos canales
message-why-says = Como se decidió al aceptar el evento. Una regla detrás de la que detuvo un canal no se consultó. Dice «cambió después» donde el ajuste ya es otro.
message-rule-matrix = Matriz
message-rule-preference = Preferencia
message-rule-address = Dirección
message-rule-suppression = Suprimida
message-rule-workshop = Taller
message-rule-template = Plantilla
message-verdict-passed = ✓ sí
message-verdict-stopped = ✗ no
message-verdict-not-asked = no se consultó
message-verdict-not-applicable = –
message-suppressed-passed = ✓ no
message-suppressed-stopped = ✗ sí
message-suppressed-not-asked = no se consultó
message-suppressed-not-applicable = –
message-elsewhere = No está en esta cadena: el evento lo envía aparte, o no era parte de lo que se reenvió.
message-priority = prioridad { $priority }
message-no-opinion = sin opinión
message-devices = { $count ->
    [one] 1 dispositivo ahora
   *[other] { $count } dispositivos ahora
}
message-named = fija en su celda
message-beats = { $count ->
    [one] le gana a 1
   *[other] les gana a { $count }
}
message-words = Texto enviado
message-words-hidden = Lo que se escribe a las personas lo ven quienes operan o editan.
message-words-erased = El texto se borró.
message-reveal = Ver dirección
message-reveal-says = La muestra una vez y deja constancia en la auditoría de que usted la vio.
message-revealed = Se muestra una vez; la auditoría lo registra.
message-of-person = Esta persona
message-all-of-person = Todos sus mensajes
message-its-task = Ver
message-provider-id = Id del proveedor
message-event-title = Evento
message-event-says = Todo lo que causó un evento, para todas las personas a las que toca.
message-event-unsent = No llegó a nadie
message-event-cut = Hay más mensajes con este id de los que se muestran.

notice-message-cancelled = El mensaje está cancelado.
notice-message-leaving = No se canceló: se está entregando, o el proveedor aún no dijo si lo tiene. Mire de nuevo en un momento.
notice-message-has-left = No se canceló: ya salió.
notice-message-has-failed = No se canceló: la entrega terminó sin éxito y no queda nada que cancelar.
notice-message-resent = Se envía de nuevo, como este mensaje.
notice-message-on-its-way = No se reenvió: todavía está en camino. Espere, o cancélelo antes.
notice-message-erased = No se reenvió: su texto o su dirección se borraron.
notice-message-suppressed = No se reenvió: la dirección está en la lista de supresión. Corríjala en el cliente o levante la supresión.
notice-message-opted-out = No se reenvió: el cliente desactivó este canal.
notice-message-retried = La cadena empieza de nuevo.

found-customer = Clientes
found-vehicle = Vehículos
found-notification = Mensajes
found-event = Eventos
found-task = Tareas
found-operation = Operaciones
found-workshop = Talleres
found-partner = Partners
found-endpoint = Endpoints
found-delivery = Webhooks
found-request = Solicitudes de reserva
found-template = Plantillas
found-more = Hay más: sea más preciso.
found-detail = Qué lo distingue

failure-group-title = Causa
failure-remedy-label = Qué hacer:
failure-sign = Última señal de la cuenta:
failure-sign-sent = aceptó un mensaje a las
failure-sign-none = no ha aceptado ningún mensaje en 30 días.
failure-sign-since = De { $tried } intentos desde el último fallo aceptó { $sent }.
failure-sign-quiet = Nada se ha intentado desde el último fallo.
failure-paused = { $queue } está en pausa: lo que se reintente espera hasta que se reanude.
failure-retry-ask = Reintentar…
failure-retry-ask-help = Primero verá cuántos salen, y cuántos no y por qué.
failure-examples = Los mensajes más recientes
failure-answer = Qué se respondió
failure-group-empty = Nada falló así en este período
failure-group-empty-help = Mire más atrás, o vea las otras causas.
failure-retry-title = Reintentar por causa
failure-retry-count = Reintentar { $go } de { $all }
failure-retry-none = Ninguno se va a reintentar
failure-retry-more = Solo se miraron los 100.000 más antiguos; reintente el resto después.
failure-retry-not = No se reintentan
failure-retry-how = Cómo
failure-retry-trial = { $count } primero, luego el resto
failure-retry-all = Todos de una vez
failure-retry-trial-help = Se espera el resultado de los primeros. Si la mayoría vuelve a fallar, la operación se detiene sola y el resto queda como está. Lo que sale no se puede deshacer.
refusal-reached = ya llegaron por otro canal
refusal-opted-out = no quieren mensajes por este canal
refusal-suppressed = tienen la dirección suprimida
refusal-erased = fueron borrados
refusal-cancelled = fueron cancelados
refusal-on-its-way = ya se están intentando
refusal-gone = ya no están en el registro
refusal-scheduled = ya se están intentando (programados)
refusal-queued = ya se están intentando (en cola)
refusal-started = ya se están intentando (en curso)
refusal-success = terminaron bien
refusal-dead = volvieron a fallar entretanto, o no se pueden cambiar
bulk-state-trying = probando
bulk-trial = Se probaron primero { $tried } de { $count }.
bulk-trial-awaited = Se espera su resultado.
bulk-verdict-passed = La mayoría salió bien: sigue el resto.
bulk-verdict-failed = La mayoría volvió a fallar: la operación se detuvo y el resto queda como está.
bulk-verdict-silent = No hubo resultado en 15 minutos: la operación se detuvo y el resto queda como está.
bulk-resume-anyway = Seguir de todos modos
bulk-now = Ahora
bulk-left-out = Quedaron fuera desde el principio
bulk-tried-tasks = Las tareas que se probaron primero
