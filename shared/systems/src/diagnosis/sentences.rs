//! A diagnosis in sentences, made where it is read: Spanish and English. Pure.

use std::time::Duration;

use chrono_tz::Tz;
use recado_kernel::clock::Timestamp;
use recado_kernel::language::Language;

use super::{Finding, Severity, What};

/// A finding as a person reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What is wrong, and whom it hits.
    pub sentence: String,
    /// What to do about it.
    pub remedy: String,
}

/// All of it in one sentence.
pub fn summary(findings: &[Finding], language: Language, zone: Tz, now: Timestamp) -> String {
    let wrong: Vec<&Finding> = findings.iter().filter(|finding| finding.severity != Severity::Note).collect();
    match wrong.as_slice() {
        [] if findings.is_empty() => language.pick("Todo funciona.", "Everything works.").to_owned(),
        [] => language
            .pick("Todo funciona, salvo lo que alguien detuvo.", "Everything works but for what somebody stopped.")
            .to_owned(),
        [only] => tell(only, language, zone, now).sentence,
        [first, rest @ ..] => {
            let sentence = tell(first, language, zone, now).sentence;
            let more = rest.len();
            language.pick(format!("{sentence} Y {more} más."), format!("{sentence} And {more} more."))
        }
    }
}

/// What a finding says.
pub fn tell(finding: &Finding, language: Language, zone: Tz, now: Timestamp) -> Told {
    let since = finding.since.map(|since| since_when(since, language, zone, now)).unwrap_or_default();
    let said = Said { since, hits: finding.hits, tasks: tasks(finding.hits, language), language, zone, now };
    let (spanish, english) = remedy(&finding.what);
    Told { sentence: said.sentence(&finding.what), remedy: language.pick(spanish, english) }
}

/// What sentences are made of besides what was found.
struct Said {
    /// With a blank before it; empty where no beginning is known.
    since: String,
    hits: i64,
    /// How many tasks that are, in words.
    tasks: String,
    language: Language,
    zone: Tz,
    now: Timestamp,
}

impl Said {
    /// A sentence for each finding, in Spanish and English.
    fn sentence(&self, what: &What) -> String {
        let Self { since, hits, tasks, language, .. } = self;
        let (spanish, english) = match what {
            What::LanePaused { queue, reason, by, until } => self.lane_paused(queue, reason, by, *until),
            What::ClockOff { worker, ahead_ms } => self.clock_off(worker, *ahead_ms),
            What::EndpointDisabled { endpoint, gone } => self.endpoint_disabled(endpoint, *gone),
            What::PendingMigrations { migrations } => (
                format!("A la base de datos le faltan {hits} migraciones: {}.", migrations.join(", ")),
                format!("The database lacks {hits} migrations: {}.", migrations.join(", ")),
            ),
            What::QueueDown { error } => (
                format!(
                    "Redis no responde ({error}); los workers buscan su trabajo en la base de datos, más despacio. {tasks} en espera."
                ),
                format!(
                    "Redis does not answer ({error}); workers look for their work in the database, which is slower. {tasks} waiting."
                ),
            ),
            What::SchedulerSilent => (
                format!("Ningún programador trabaja{since}: {tasks} cuya hora llegó no salen."),
                format!("No scheduler works{since}: {tasks} whose time has come do not go out."),
            ),
            What::LaneUnread { lane } => (
                format!("Ningún worker lee {lane}{since}: {tasks} en espera."),
                format!("No worker reads {lane}{since}: {tasks} waiting."),
            ),
            What::LaneSlow { lane, waits_s } => {
                let waits = span(Duration::from_secs(*waits_s), *language);
                (
                    format!("En {lane} la tarea más antigua espera {waits}; {tasks} en cola."),
                    format!("In {lane} the oldest task has waited {waits}; {tasks} queued."),
                )
            }
            What::AccountFailing { lane, account, percent } => (
                format!(
                    "La cuenta {account} de {lane} falla{since}: el {percent} % de los intentos, {hits} en 15 minutos."
                ),
                format!(
                    "The account {account} of {lane} fails{since}: {percent} % of the attempts, {hits} in 15 minutes."
                ),
            ),
            What::ReceiptsStopped { lane, account } => (
                format!(
                    "La cuenta {account} de {lane} acepta mensajes y ya no confirma entregas{since}: {hits} en la última hora."
                ),
                format!(
                    "The account {account} of {lane} takes messages and confirms no deliveries any more{since}: {hits} in the last hour."
                ),
            ),
            What::WorkerSilent { worker } => (
                format!("El worker {worker} no da señales{since}; tenía {tasks}, que pasan a otros."),
                format!("The worker {worker} has been silent{since}; it held {tasks}, which others take over."),
            ),
            What::WorkerDraining { worker } => (
                format!("El worker {worker} no toma nada más{since}; le quedan {tasks}."),
                format!("The worker {worker} takes nothing more{since}; {tasks} left."),
            ),
            What::MixedVersions { versions } => (
                format!("Trabajan {hits} workers de versiones distintas: {}.", versions.join(", ")),
                format!("{hits} workers of different versions work: {}.", versions.join(", ")),
            ),
            What::DeadGrowing { last_hour, usual } => (
                format!("Se abandonaron {last_hour} tareas en la última hora; lo usual son {usual}."),
                format!("{last_hour} tasks were given up in the last hour; {usual} are usual."),
            ),
            What::DeadTasks => {
                (format!("Hay {tasks} que se abandonaron."), format!("There are {tasks} that were given up."))
            }
            What::SuppressionsSpike { last_day, usual } => (
                format!("Se suprimieron {last_day} direcciones en un día; lo usual son {usual}."),
                format!("{last_day} addresses were suppressed in a day; {usual} are usual."),
            ),
            What::OpenToStrangers => (
                "La API está abierta sin clave (ALLOW_ANONYMOUS_API) y otras máquinas llegan a ella.".to_owned(),
                "The API is open without a key (ALLOW_ANONYMOUS_API), and other machines reach it.".to_owned(),
            ),
        };
        language.pick(spanish, english)
    }

    fn lane_paused(&self, queue: &str, reason: &str, by: &str, until: Option<Timestamp>) -> (String, String) {
        let Self { since, tasks, zone, now, .. } = self;
        let end = until.map(|until| moment(until, *zone, *now));
        let spanish =
            end.as_ref().map_or_else(|| "hasta que alguien la reanude".to_owned(), |end| format!("hasta {end}"));
        let english = end.as_ref().map_or_else(|| "until somebody resumes it".to_owned(), |end| format!("until {end}"));
        (
            format!("{by} pausó {queue}{since}, {spanish}: {reason}. {tasks} en espera."),
            format!("{by} paused {queue}{since}, {english}: {reason}. {tasks} waiting."),
        )
    }

    fn clock_off(&self, worker: &str, ahead_ms: i64) -> (String, String) {
        let off = span(Duration::from_millis(ahead_ms.unsigned_abs()), self.language);
        let (spanish, english) = if ahead_ms > 0 { ("adelantado", "ahead") } else { ("atrasado", "behind") };
        (
            format!("El reloj del host de {worker} va {off} {spanish} respecto al de la base de datos."),
            format!("The clock of the host of {worker} is {off} {english} of the database's."),
        )
    }

    fn endpoint_disabled(&self, endpoint: &str, gone: bool) -> (String, String) {
        let since = &self.since;
        let (spanish, english) = match gone {
            true => ("respondió 410", "it answered 410"),
            false => ("no aceptó nada durante días", "it took nothing for days"),
        };
        (
            format!("El endpoint {endpoint} está desactivado{since}: {spanish}."),
            format!("The endpoint {endpoint} has been disabled{since}: {english}."),
        )
    }
}

/// What helps, in Spanish and English.
fn remedy(what: &What) -> (String, String) {
    let (spanish, english) = match what {
        What::LaneUnread { lane } => {
            return (format!("Inicie `recado worker -Q {lane}`."), format!("Start `recado worker -Q {lane}`."));
        }
        What::LanePaused { queue, .. } => {
            return (
                format!("Para reanudarla: `recado queues resume {queue}`."),
                format!("To resume it: `recado queues resume {queue}`."),
            );
        }
        What::PendingMigrations { .. } => ("Ejecute `recado migrate`.", "Run `recado migrate`."),
        What::QueueDown { .. } => (
            "Compruebe que Redis funciona y que REDIS_URL lleva a él. No se pierde nada.",
            "See that Redis runs and that REDIS_URL leads to it. Nothing is lost.",
        ),
        What::SchedulerSilent => {
            ("Inicie `recado scheduler`, o lea su registro.", "Start `recado scheduler`, or read its log.")
        }
        What::LaneSlow { .. } => (
            "Mire si el proveedor responde (`recado doctor` lo dice por cuenta); si responde, añada workers o súbales --concurrency.",
            "See whether the provider answers (`recado doctor` says so by account); if it does, add workers or raise their --concurrency.",
        ),
        What::AccountFailing { .. } => (
            "Mire los fallos por causa (`GET /api/v1/operations/failures/`); cada código dice su remedio. Si dura, pause la cola.",
            "Look at the failures by cause (`GET /api/v1/operations/failures/`); each code has its remedy. If it lasts, pause the queue.",
        ),
        What::ReceiptsStopped { .. } => (
            "La sesión puede estar muerta aunque diga que está conectada: conecte la instancia de nuevo y compruebe el webhook de Evolution API.",
            "The session may be dead although it says that it is connected: connect the instance again, and check Evolution API's webhook.",
        ),
        What::WorkerSilent { .. } => (
            "Si no volvió a iniciarse, inícielo. Su fila se olvida en una hora.",
            "If it was not started again, start it. Its row is forgotten within an hour or so.",
        ),
        What::WorkerDraining { .. } => (
            "Deténgalo cuando no le quede ninguna, o quite el drenaje.",
            "Stop it when none is left, or take the wish back.",
        ),
        What::MixedVersions { .. } => (
            "Es normal durante un despliegue; si dura, reinicie los antiguos.",
            "That is usual during a deploy; if it lasts, restart the old ones.",
        ),
        What::ClockOff { .. } => (
            "Active la sincronización (NTP) en ese host: los certificados y las firmas dependen de su reloj.",
            "Switch time synchronisation (NTP) on there: certificates and signatures depend on that clock.",
        ),
        What::DeadGrowing { .. } => (
            "Mire `recado tasks list --state dead`; tras corregir la causa, `recado tasks retry --all-dead`.",
            "Look at `recado tasks list --state dead`; when the cause is mended, `recado tasks retry --all-dead`.",
        ),
        What::DeadTasks => (
            "Mire `recado tasks list --state dead`; reintente o cancele cada una.",
            "Look at `recado tasks list --state dead`; retry or leave each of them.",
        ),
        What::SuppressionsSpike { .. } => (
            "Lea sus detalles: una lista mala, o un servidor de correo que rechaza a todos. Levante las que no lo merecen.",
            "Read their details: a bad list, or a mail server that refuses everybody. Lift those that do not deserve it.",
        ),
        What::EndpointDisabled { .. } => (
            "Hable con el partner; después POST /api/v1/webhooks/endpoints/{id}/resume/ y reenvíe lo perdido.",
            "Talk to the partner; then POST /api/v1/webhooks/endpoints/{id}/resume/, and send again what was missed.",
        ),
        What::OpenToStrangers => (
            "Cree claves con `recado api-key create` y quite ALLOW_ANONYMOUS_API, o escuche solo en 127.0.0.1.",
            "Make keys with `recado api-key create` and remove ALLOW_ANONYMOUS_API, or listen on 127.0.0.1 alone.",
        ),
    };
    (spanish.to_owned(), english.to_owned())
}

fn tasks(count: i64, language: Language) -> String {
    match language {
        Language::Spanish => format!("{count} tarea{}", if count == 1 { "" } else { "s" }),
        Language::English => format!("{count} task{}", if count == 1 { "" } else { "s" }),
    }
}

fn since_when(since: Timestamp, language: Language, zone: Tz, now: Timestamp) -> String {
    let moment = moment(since, zone, now);
    language.pick(format!(" desde {moment}"), format!(" since {moment}"))
}

/// The hour, and the day where it is another one.
fn moment(at: Timestamp, zone: Tz, now: Timestamp) -> String {
    let local = at.to_utc().with_timezone(&zone);
    let format = if at.date_in(zone) == now.date_in(zone) { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    local.format(format).to_string()
}

fn span(duration: Duration, language: Language) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} {}", seconds / 86_400, language.pick("días", "days")),
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::America::Guayaquil;

    use super::*;

    fn all() -> Vec<What> {
        let text = || "x".to_owned();
        vec![
            What::PendingMigrations { migrations: vec![text()] },
            What::QueueDown { error: text() },
            What::SchedulerSilent,
            What::LaneUnread { lane: text() },
            What::LaneSlow { lane: text(), waits_s: 61 },
            What::LanePaused { queue: text(), reason: text(), by: text(), until: None },
            What::AccountFailing { lane: text(), account: text(), percent: 61 },
            What::ReceiptsStopped { lane: text(), account: text() },
            What::WorkerSilent { worker: text() },
            What::WorkerDraining { worker: text() },
            What::MixedVersions { versions: vec![text()] },
            What::ClockOff { worker: text(), ahead_ms: -7_000 },
            What::DeadGrowing { last_hour: 9, usual: 1 },
            What::DeadTasks,
            What::SuppressionsSpike { last_day: 9, usual: 1 },
            What::EndpointDisabled { endpoint: text(), gone: true },
            What::OpenToStrangers,
        ]
    }

    #[test]
    fn every_finding_is_told_in_both_languages_with_its_remedy() {
        let now = Timestamp::from_micros(1_768_919_400_000_000);
        for what in all() {
            let code = what.code();
            let finding = Finding { severity: Severity::Fault, what, since: Some(now), hits: 7 };
            let [spanish, english] = Language::ALL.map(|language| tell(&finding, language, Guayaquil, now));
            for told in [&spanish, &english] {
                assert!(told.sentence.ends_with('.') && told.remedy.ends_with('.'), "{code}: {told:?}");
                assert!(!told.sentence.contains("  "), "{code}: {told:?}");
            }
            assert!(spanish.sentence != english.sentence && spanish.remedy != english.remedy, "{code}");
        }
    }

    #[test]
    fn one_sentence_says_it_all() {
        let now = Timestamp::from_micros(1_768_919_400_000_000);
        let say = |findings: &[Finding]| summary(findings, Language::Spanish, Guayaquil, now);
        let unread = Finding {
            severity: Severity::Fault,
            what: What::LaneUnread { lane: "sync".into() },
            since: Some(now - Duration::from_secs(3600)),
            hits: 1,
        };
        assert_eq!(say(&[]), "Todo funciona.");
        assert_eq!(say(std::slice::from_ref(&unread)), "Ningún worker lee sync desde 08:30: 1 tarea en espera.");
        assert!(say(&[unread.clone(), unread.clone()]).ends_with(" Y 1 más."));
        let wish = Finding { severity: Severity::Note, ..unread };
        assert_eq!(say(&[wish]), "Todo funciona, salvo lo que alguien detuvo.");
    }
}
