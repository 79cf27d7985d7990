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
