failures-title = Failures
failures-total = { $count ->
    [one] 1 message failed or bounced.
   *[other] { $count } messages failed or bounced.
}
failures-say = What is still being tried is not among them; what arrived on another channel is.
failures-empty = Nothing failed in this time
failures-empty-help = Here you see why a message does not arrive: channel, account and code, with what it means and what to do.
failures-hours-1 = 1 hour
failures-hours-24 = 24 hours
failures-hours-168 = 7 days
failures-hours-720 = 30 days
cause = Cause
count = Count
over-time = When they failed
first = First
last = Last
example = An example:
no-code = without a code
code-unknown = This version does not know the code.
dead-of-lane = Dead tasks of this lane
messages-title = Messages
message-title = Message
messages-count = { $count ->
    [one] 1 message
   *[other] { $count } messages
}
messages-count-more = More than { $count } messages
messages-new = { $count ->
    [one] Show 1 new
   *[other] Show { $count } new
}
messages-new-more = Show more than { $count } new
messages-empty = No message fits
messages-empty-help = Here stands what was sent, waits or failed, as soon as an event is accepted. Widen the time or take a filter away. To send the sample from a terminal:
message-more-filters = More filters
message-channel = Channel
message-event = Event
message-event-appointment-scheduled = Appointment scheduled
message-event-vehicle-received = Vehicle received
message-event-repair-started = Repair started
message-event-quality-check = Quality check
message-event-vehicle-ready = Vehicle ready
message-event-maintenance-reminder = Maintenance reminder
message-event-maintenance-overdue = Maintenance overdue
message-event-custom = Own words
message-customer = Customer
message-account = Account
message-code = Error code
message-workshop = Workshop
message-to = To
message-status-pending = in reserve
message-status-queued = on its way
message-status-sent = sent
message-status-delivered = delivered
message-status-read = read
message-status-bounced = bounced
message-status-failed = failed
message-status-cancelled = cancelled
message-chain = Channels, in the order in which they are tried
message-awaits-delivered = waits for “delivered” until
message-awaits-read = waits for “read” until
message-held-until = The pause ends
message-next = What happens next
message-resend = Send again
message-resend-says = The same words to the same address, as a new message. Permission is asked for again.
message-cancel-says = Nothing of it leaves, on any channel. It can be undone.
message-retry-says = The chain begins again with its first channel.
message-that-one = That message
message-lift = Lift it
message-answer = The provider's answer
message-changed = changed since
message-what-it-means = What the error means, and what to do
message-alike = { $count ->
    [0] No other failed like this in 24 hours
    [one] 1 more failed like this in 24 hours
   *[other] { $count } more failed like this in 24 hours
}
message-why = Why these channels
message-why-says = As it was decided when the event was accepted. A rule behind the one that stopped a channel was not asked. “Changed since” is said where the setting is another one by now.
message-rule-matrix = Matrix
message-rule-preference = Preference
message-rule-address = Address
message-rule-suppression = Suppressed
message-rule-workshop = Workshop
message-rule-template = Template
message-verdict-passed = ✓ yes
message-verdict-stopped = ✗ no
message-verdict-not-asked = not asked
message-verdict-not-applicable = –
message-suppressed-passed = ✓ no
message-suppressed-stopped = ✗ yes
message-suppressed-not-asked = not asked
message-suppressed-not-applicable = –
message-elsewhere = Not in this chain: the event sends it by itself, or it was no part of what was repeated.
message-priority = priority { $priority }
message-no-opinion = no opinion
message-devices = { $count ->
    [one] 1 device now
   *[other] { $count } devices now
}
message-named = fixed in its cell
message-beats = { $count ->
    [one] wins against 1
   *[other] wins against { $count }
}
message-words = Words as sent
message-words-hidden = What is written to people is for operators and editors.
message-words-erased = The words were erased.
message-reveal = Show address
message-reveal-says = Shows it once, and writes into the audit log that you looked.
message-revealed = Shown once; the audit log says so.
message-of-person = This person
message-all-of-person = All messages
message-its-task = Show
message-provider-id = The provider's id
message-event-title = Event
message-event-says = All that one event caused, for everybody it concerns.
message-event-unsent = Reached no one
message-event-cut = There are more messages with this id than are shown.

notice-message-cancelled = The message is cancelled.
notice-message-leaving = Not cancelled: it is just being handed over, or the provider has not said yet whether it has it. Look again in a moment.
notice-message-has-left = Not cancelled: it has left.
notice-message-has-failed = Not cancelled: the delivery has ended without success, so nothing is left to cancel.
notice-message-resent = It is sent again, as this message.
notice-message-on-its-way = Not sent again: it is still on its way. Wait, or cancel it first.
notice-message-erased = Not sent again: its words or its address were erased.
notice-message-suppressed = Not sent again: the address is on the list of suppressions. Correct it in the customer, or lift the suppression.
notice-message-opted-out = Not sent again: the customer switched this channel off.
notice-message-retried = The chain begins again.

found-customer = Customers
found-vehicle = Vehicles
found-notification = Messages
found-event = Events
found-task = Tasks
found-operation = Operations
found-workshop = Workshops
found-partner = Partners
found-endpoint = Endpoints
found-delivery = Webhooks
found-request = Reservation requests
found-template = Templates
found-more = There are more: narrow the question.
found-detail = What tells it apart

failure-group-title = Cause
failure-remedy-label = What to do:
failure-sign = Last sign of the account:
failure-sign-sent = it took a message at
failure-sign-none = it has taken no message in 30 days.
failure-sign-since = Of { $tried } attempts since the last failure it took { $sent }.
failure-sign-quiet = Nothing was tried since the last failure.
failure-paused = { $queue } is paused: what is retried waits until it goes on.
failure-retry-ask = Retry…
failure-retry-ask-help = First you see how many go, and how many do not and why.
failure-examples = The newest messages
failure-answer = What was answered
failure-group-empty = Nothing failed like this in this time
failure-group-empty-help = Look further back, or at the other causes.
failure-retry-title = Retry by cause
failure-retry-count = Retry { $go } of { $all }
failure-retry-none = None of them is to be retried
failure-retry-more = Only the oldest 100,000 were looked at; retry the rest afterwards.
failure-retry-not = Not retried
failure-retry-how = How
failure-retry-trial = { $count } first, then the rest
failure-retry-all = All at once
failure-retry-trial-help = The result of the first ones is awaited. If most of them fail again, the operation stops by itself, and the rest stays as it is. What was sent cannot be taken back.
refusal-reached = already reached on another channel
refusal-opted-out = do not want messages on this channel
refusal-suppressed = have a suppressed address
refusal-erased = were erased
refusal-cancelled = were cancelled
refusal-on-its-way = are being tried already
refusal-gone = are not in the ledger any more
refusal-scheduled = are being tried already (planned)
refusal-queued = are being tried already (queued)
refusal-started = are being tried already (running)
refusal-success = have ended well
refusal-dead = failed again meanwhile, or cannot be changed
bulk-state-trying = trying
bulk-trial = { $tried } of { $count } were tried first.
bulk-trial-awaited = Their result is awaited.
bulk-verdict-passed = Most of them did well, so the rest follows.
bulk-verdict-failed = Most of them failed again, so the operation was stopped. The rest stays as it is.
bulk-verdict-silent = No result came within 15 minutes, so the operation was stopped. The rest stays as it is.
bulk-resume-anyway = Go on all the same
bulk-now = Now
bulk-left-out = Left out from the beginning
bulk-tried-tasks = The tasks that were tried first
