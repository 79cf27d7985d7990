product = Recado
skip = Skip to the content
sections = Sections
search-label = Search for anything
live-on = live
live-paused = paused
live-lost = connection lost; trying again
live-pause = Pause
nobody = This machine
logout = Log out
undo = Undo
times-in = Times in { $zone }
keys = Keys
key-search = search
key-rows = next and previous row
key-tick = tick the row
key-open = open the row
key-retry = retry
key-pause = pause what is live
keys-off = Switch keys off in this browser
close = Close
pages = Pages
newer = Newer
older = Older
window = Time
window-hour = Last hour
window-day = Last 24 hours
window-week = Last 7 days
window-all = All time
window-said-hour = of the last hour
window-said-day = of the last 24 hours
window-said-week = of the last 7 days
window-said-all = of all time
all = All
filter = Filter
no-filter = Without filter
filters-set = { $count ->
    [0] Filters
    [one] Filters: 1 is set
   *[other] Filters: { $count } are set
}
back = Back
back-to-start = To the start
you-are-here = You are here
by-hand = From a terminal
request-id = If you ask for help, name this request:
timestamp = { $day } { $month } { $year }, { $time }
# As the script of the pages says it afterwards (Intl.RelativeTimeFormat).
now = now
ago = { $unit ->
    [second] { $count ->
        [one] { $count } second ago
       *[other] { $count } seconds ago
    }
    [minute] { $count ->
        [one] { $count } minute ago
       *[other] { $count } minutes ago
    }
    [hour] { $count ->
        [one] { $count } hour ago
       *[other] { $count } hours ago
    }
    [day] { $count ->
        [one] { $count } day ago
       *[other] { $count } days ago
    }
    [month] { $count ->
        [one] { $count } month ago
       *[other] { $count } months ago
    }
   *[year] { $count ->
        [one] { $count } year ago
       *[other] { $count } years ago
    }
}
in-time = { $unit ->
    [second] { $count ->
        [one] in { $count } second
       *[other] in { $count } seconds
    }
    [minute] { $count ->
        [one] in { $count } minute
       *[other] in { $count } minutes
    }
    [hour] { $count ->
        [one] in { $count } hour
       *[other] in { $count } hours
    }
    [day] { $count ->
        [one] in { $count } day
       *[other] in { $count } days
    }
    [month] { $count ->
        [one] in { $count } month
       *[other] in { $count } months
    }
   *[year] { $count ->
        [one] in { $count } year
       *[other] in { $count } years
    }
}
month-1 = Jan
month-2 = Feb
month-3 = Mar
month-4 = Apr
month-5 = May
month-6 = Jun
month-7 = Jul
month-8 = Aug
month-9 = Sep
month-10 = Oct
month-11 = Nov
month-12 = Dec

state = State
lane = Lane
kind = Kind
error = Error
error-contains = Error contains
attempts = Attempts
failures = Failures
lost-leases = Lost leases
worker = Worker
made = Made
when = When
who = Who
action = Action
subject = Subject
change = Change
done = Done
finished = Finished
skipped = Passed over:
timeline = Timeline
correlation = All that one event caused:
payload = Payload
payload-masked = Words and addresses of people are hidden.
history = History
history-empty = Nothing has been done to this yet.

took-ms = { $value } ms
took-s = { $value } s
took-min = { $value } min
took-h = { $value } h

search-title = Search
search-nothing = Nothing fits “{ $query }”
search-help = A name, mail address or number in any spelling, a plate, a RES- code, or any id: ours, yours or a provider's.

failure-title = Not found or not possible
failure-login = You are not logged in
failure-remedy-login = Log in and try again.
failure-forbidden = You may not do this
failure-remedy-forbidden = Ask an administrator for the role.
failure-needs = It needs the role
failure-forged = This form was not sent by this site
failure-remedy-forged = Nothing was changed. Open the page again and send it from there. Behind a proxy, set PUBLIC_URL.
failure-not-found = There is nothing here
failure-remedy-not-found = It was deleted, its link has been used, or the address is mistyped.
failure-malformed = The form cannot be read
failure-remedy-malformed = Nothing was changed. Open the page again.
failure-too-slow = That took too long
failure-remedy-too-slow = Narrow the time or add a filter.
failure-database = The database does not answer
failure-remedy-database = Nothing was lost. Try again in a moment.
failure-drawing = This page cannot be drawn
failure-remedy-drawing = That is a mistake of ours. The log has the reason.

notice-nothing-to-do = Nothing was done: its state is another by now.
notice-saved = Saved.

menu = Menu
group-today = Today
group-messages = Messages
group-work = Work
group-people = People
group-texts = Texts
group-partners = Partners
group-whatsapp = WhatsApp
group-settings = Settings
name = Name
field = Field
active = active
inactive = inactive
as-everywhere = as everywhere
changed-at = Changed
delete = Delete
time-zone = Time zone
time-zone-help = Its IANA name, for example America/Guayaquil. Empty: as everywhere.
quiet-from = Quiet from
quiet-until = Quiet until
quiet-help = Local time, in which nothing that can wait is sent. Both or neither.
channel-email = email
channel-whatsapp = WhatsApp
channel-push = push
search-for-more = There are more: search by name.
form-wrong-time = Not a time of day: write it as 22:00.
conflict = Somebody changed this while you were at it
conflict-says = Nothing was saved. Below is what you wrote; if you save it now, it replaces what they wrote.
theirs = Theirs, as it is now
yours = Yours
channel = Channel
form-wrong-number = Not a whole number.
views = Named views
view-keep = Keep this view
view-name = Name of the view
notice-view-kept = The view is kept. You find it above this list and in your account.
notice-view-refused = Nothing was kept: a name has 1 to 60 characters, and one keeps at most 100 views.
notice-view-deleted = The view is forgotten.
failure-secret = A secret cannot be kept or read
failure-remedy-secret = SECRET_KEY is missing on the server, or is another than it was. Ask an administrator.
