product = Recado
skip = Ir al contenido
sections = Secciones
search-label = Buscar lo que sea
live-on = en vivo
live-paused = en pausa
live-lost = sin conexión; reintentando
live-pause = Pausar
nobody = Esta máquina
logout = Salir
undo = Deshacer
times-in = Horas de { $zone }
keys = Teclas
key-search = buscar
key-rows = fila siguiente y anterior
key-tick = marcar la fila
key-open = abrir la fila
key-retry = reintentar
key-pause = pausar lo que está en vivo
keys-off = Desactivar las teclas en este navegador
close = Cerrar
pages = Páginas
newer = Más recientes
older = Más antiguas
window = Período
window-hour = Última hora
window-day = Últimas 24 horas
window-week = Últimos 7 días
window-all = Todo
window-said-hour = de la última hora
window-said-day = de las últimas 24 horas
window-said-week = de los últimos 7 días
window-said-all = de todo el tiempo
all = Todos
filter = Filtrar
no-filter = Sin filtro
filters-set = { $count ->
    [0] Filtros
    [one] Filtros: hay 1 puesto
   *[other] Filtros: hay { $count } puestos
}
back = Volver
back-to-start = Al inicio
you-are-here = Está aquí
by-hand = Desde una terminal
request-id = Si pide ayuda, nombre esta solicitud:
timestamp = { $day } { $month } { $year }, { $time }
# As the script of the pages says it afterwards (Intl.RelativeTimeFormat).
now = ahora
ago = { $unit ->
    [second] { $count ->
        [one] hace { $count } segundo
       *[other] hace { $count } segundos
    }
    [minute] { $count ->
        [one] hace { $count } minuto
       *[other] hace { $count } minutos
    }
    [hour] { $count ->
        [one] hace { $count } hora
       *[other] hace { $count } horas
    }
    [day] { $count ->
        [one] hace { $count } día
       *[other] hace { $count } días
    }
    [month] { $count ->
        [one] hace { $count } mes
       *[other] hace { $count } meses
    }
   *[year] { $count ->
        [one] hace { $count } año
       *[other] hace { $count } años
    }
}
in-time = { $unit ->
    [second] { $count ->
        [one] dentro de { $count } segundo
       *[other] dentro de { $count } segundos
    }
    [minute] { $count ->
        [one] dentro de { $count } minuto
       *[other] dentro de { $count } minutos
    }
    [hour] { $count ->
        [one] dentro de { $count } hora
       *[other] dentro de { $count } horas
    }
    [day] { $count ->
        [one] dentro de { $count } día
       *[other] dentro de { $count } días
    }
    [month] { $count ->
        [one] dentro de { $count } mes
       *[other] dentro de { $count } meses
    }
   *[year] { $count ->
        [one] dentro de { $count } año
       *[other] dentro de { $count } años
    }
}
month-1 = ene
month-2 = feb
month-3 = mar
month-4 = abr
month-5 = may
month-6 = jun
month-7 = jul
month-8 = ago
month-9 = sep
month-10 = oct
month-11 = nov
month-12 = dic

state = Estado
lane = Carril
kind = Tipo
error = Error
error-contains = El error contiene
attempts = Intentos
failures = Fallos
lost-leases = Turnos perdidos
worker = Worker
made = Creada
when = Cuándo
who = Quién
action = Acción
subject = Sobre qué
change = Cambio
done = Hechas
finished = Terminó
skipped = Omitidas:
timeline = Línea de tiempo
correlation = Todo lo que causó un evento:
payload = Contenido
payload-masked = Las palabras y direcciones de las personas están ocultas.
history = Historial
history-empty = Nadie ha hecho nada con esto todavía.

took-ms = { $value } ms
took-s = { $value } s
took-min = { $value } min
took-h = { $value } h

search-title = Buscar
search-nothing = Nada coincide con «{ $query }»
search-help = Un nombre, un correo o un número escrito como sea, una placa, un código RES- o cualquier id: nuestro, suyo o del proveedor.

failure-title = No existe o no se puede
failure-login = No ha entrado
failure-remedy-login = Entre e inténtelo de nuevo.
failure-forbidden = No puede hacer esto
failure-remedy-forbidden = Pida el rol a quien administra.
failure-needs = Necesita el rol
failure-forged = Este formulario no salió de este sitio
failure-remedy-forged = No se cambió nada. Abra la página de nuevo y envíelo desde ahí. Detrás de un proxy, ponga PUBLIC_URL.
failure-not-found = Aquí no hay nada
failure-remedy-not-found = Se borró, su enlace ya se usó, o la dirección está mal escrita.
failure-malformed = No se puede leer el formulario
failure-remedy-malformed = No se cambió nada. Abra la página de nuevo.
failure-too-slow = Tardó demasiado
failure-remedy-too-slow = Acorte el período o agregue un filtro.
failure-database = La base de datos no responde
failure-remedy-database = No se perdió nada. Inténtelo de nuevo en un momento.
failure-drawing = No se puede dibujar esta página
failure-remedy-drawing = Es un error nuestro. La causa está en el registro.

notice-nothing-to-do = No se hizo nada: su estado ya es otro.
notice-saved = Guardado.

menu = Menú
group-today = Hoy
group-messages = Mensajes
group-work = Trabajo
group-people = Personas
group-texts = Textos
group-partners = Partners
group-whatsapp = WhatsApp
group-settings = Ajustes
name = Nombre
field = Campo
active = activo
inactive = inactivo
as-everywhere = como en todas partes
changed-at = Cambiado
delete = Eliminar
time-zone = Zona horaria
time-zone-help = Su nombre de IANA, por ejemplo America/Guayaquil. Vacío: como en todas partes.
quiet-from = Silencio desde
quiet-until = Silencio hasta
quiet-help = Hora local en la que no sale nada que pueda esperar. Las dos o ninguna.
channel-email = email
channel-whatsapp = WhatsApp
channel-push = push
search-for-more = Hay más: busque por nombre.
form-wrong-time = No es una hora: escríbala como 22:00.
conflict = Alguien cambió esto mientras usted escribía
conflict-says = No se guardó nada. Abajo está lo que escribió; si lo guarda ahora, reemplaza lo que la otra persona escribió.
theirs = De la otra persona, como está ahora
yours = Suyo
channel = Canal
form-wrong-number = No es un número entero.
views = Vistas con nombre
view-keep = Guardar esta vista
view-name = Nombre de la vista
notice-view-kept = La vista está guardada. La encuentra sobre esta lista y en su cuenta.
notice-view-refused = No se guardó nada: un nombre tiene de 1 a 60 caracteres, y se guardan 100 vistas como máximo.
notice-view-deleted = La vista está olvidada.
failure-secret = Un secreto no se puede guardar o leer
failure-remedy-secret = Falta SECRET_KEY en el servidor, o no es la de antes. Pregunte a un administrador.
