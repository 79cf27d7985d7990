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
    let hits = finding.hits;
    let tasks = tasks(hits, language);
    let (spanish, english): ((String, String), (String, String)) = match &finding.what {
        What::PendingMigrations { migrations } => {
            let names = migrations.join(", ");
            (
                (format!("A la base de datos le faltan {hits} migraciones: {names}."), "Ejecute `recado migrate`.".into()),
                (format!("The database lacks {hits} migrations: {names}."), "Run `recado migrate`.".into()),
            )
        }
        What::QueueDown { error } => (
            (
                format!("Redis no responde ({error}); los workers buscan su trabajo en la base de datos, más despacio. {tasks} en espera."),
                "Compruebe que Redis funciona y que REDIS_URL lleva a él. No se pierde nada.".into(),
            ),
            (
                format!("Redis does not answer ({error}); workers look for their work in the database, which is slower. {tasks} waiting."),
                "See that Redis runs and that REDIS_URL leads to it. Nothing is lost.".into(),
            ),
        ),
        What::SchedulerSilent => (
            (
                format!("Ningún programador trabaja{since}: {tasks} cuya hora llegó no salen."),
                "Inicie `recado scheduler`, o lea su registro.".into(),
            ),
            (
                format!("No scheduler works{since}: {tasks} whose time has come do not go out."),
                "Start `recado scheduler`, or read its log.".into(),
            ),
        ),
        What::LaneUnread { lane } => (
            (format!("Ningún worker lee {lane}{since}: {tasks} en espera."), format!("Inicie `recado worker -Q {lane}`.")),
            (format!("No worker reads {lane}{since}: {tasks} waiting."), format!("Start `recado worker -Q {lane}`.")),
        ),
        What::LaneSlow { lane, waits_s } => {
            let waits = span(Duration::from_secs(*waits_s), language);
            (
                (
                    format!("En {lane} la tarea más antigua espera {waits}; {tasks} en cola."),
                    "Mire si el proveedor responde (`recado doctor` lo dice por cuenta); si responde, añada workers o súbales --concurrency.".into(),
                ),
                (
                    format!("In {lane} the oldest task has waited {waits}; {tasks} queued."),
                    "See whether the provider answers (`recado doctor` says so by account); if it does, add workers or raise their --concurrency.".into(),
                ),
            )
        }
        What::LanePaused { queue, reason, by, until } => {
            let until_es = until.map_or_else(|| "hasta que alguien la reanude".to_owned(), |until| format!("hasta {}", moment(until, zone, now)));
            let until_en = until.map_or_else(|| "until somebody resumes it".to_owned(), |until| format!("until {}", moment(until, zone, now)));
            (
                (
                    format!("{by} pausó {queue}{since}, {until_es}: {reason}. {tasks} en espera."),
                    format!("Para reanudarla: `recado queues resume {queue}`."),
                ),
                (
                    format!("{by} paused {queue}{since}, {until_en}: {reason}. {tasks} waiting."),
                    format!("To resume it: `recado queues resume {queue}`."),
                ),
            )
        }
        What::AccountFailing { lane, account, percent } => (
            (
                format!("La cuenta {account} de {lane} falla{since}: el {percent} % de los intentos, {hits} en 15 minutos."),
                "Mire los fallos por causa (`GET /api/v1/operations/failures/`); cada código dice su remedio. Si dura, pause la cola.".into(),
            ),
            (
                format!("The account {account} of {lane} fails{since}: {percent} % of the attempts, {hits} in 15 minutes."),
                "Look at the failures by cause (`GET /api/v1/operations/failures/`); each code has its remedy. If it lasts, pause the queue.".into(),
            ),
        ),
        What::ReceiptsStopped { lane, account } => (
            (
                format!("La cuenta {account} de {lane} acepta mensajes y ya no confirma entregas{since}: {hits} en la última hora."),
                "La sesión puede estar muerta aunque diga que está conectada: conecte la instancia de nuevo y compruebe el webhook de Evolution API.".into(),
            ),
            (
                format!("The account {account} of {lane} takes messages and confirms no deliveries any more{since}: {hits} in the last hour."),
                "The session may be dead although it says that it is connected: connect the instance again, and check Evolution API's webhook.".into(),
            ),
        ),
        What::WorkerSilent { worker } => (
            (
                format!("El worker {worker} no da señales{since}; tenía {tasks}, que pasan a otros."),
                "Si no volvió a iniciarse, inícielo. Su fila se olvida en una hora.".into(),
            ),
            (
                format!("The worker {worker} has been silent{since}; it held {tasks}, which others take over."),
                "If it was not started again, start it. Its row is forgotten within an hour or so.".into(),
            ),
        ),
        What::WorkerDraining { worker } => (
            (
                format!("El worker {worker} no toma nada más{since}; le quedan {tasks}."),
                "Deténgalo cuando no le quede ninguna, o quite el drenaje.".into(),
            ),
            (
                format!("The worker {worker} takes nothing more{since}; {tasks} left."),
                "Stop it when none is left, or take the wish back.".into(),
            ),
        ),
        What::MixedVersions { versions } => {
            let versions = versions.join(", ");
            (
                (
                    format!("Trabajan {hits} workers de versiones distintas: {versions}."),
                    "Es normal durante un despliegue; si dura, reinicie los antiguos.".into(),
                ),
                (
                    format!("{hits} workers of different versions work: {versions}."),
                    "That is usual during a deploy; if it lasts, restart the old ones.".into(),
                ),
            )
        }
        What::ClockOff { worker, ahead_ms } => {
            let off = span(Duration::from_millis(ahead_ms.unsigned_abs()), language);
            let (es, en) = if *ahead_ms > 0 { ("adelantado", "ahead") } else { ("atrasado", "behind") };
            (
                (
                    format!("El reloj del host de {worker} va {off} {es} respecto al de la base de datos."),
                    "Active la sincronización (NTP) en ese host: los certificados y las firmas dependen de su reloj.".into(),
                ),
                (
                    format!("The clock of the host of {worker} is {off} {en} of the database's."),
                    "Switch time synchronisation (NTP) on there: certificates and signatures depend on that clock.".into(),
                ),
            )
        }
        What::DeadGrowing { last_hour, usual } => (
            (
                format!("Se abandonaron {last_hour} tareas en la última hora; lo usual son {usual}."),
                "Mire `recado tasks list --state dead`; tras corregir la causa, `recado tasks retry --all-dead`.".into(),
            ),
            (
                format!("{last_hour} tasks were given up in the last hour; {usual} are usual."),
                "Look at `recado tasks list --state dead`; when the cause is mended, `recado tasks retry --all-dead`.".into(),
            ),
        ),
        What::DeadTasks => (
            (
                format!("Hay {tasks} que se abandonaron."),
                "Mire `recado tasks list --state dead`; reintente o cancele cada una.".into(),
            ),
            (
                format!("There are {tasks} that were given up."),
                "Look at `recado tasks list --state dead`; retry or leave each of them.".into(),
            ),
        ),
        What::SuppressionsSpike { last_day, usual } => (
            (
                format!("Se suprimieron {last_day} direcciones en un día; lo usual son {usual}."),
                "Lea sus detalles: una lista mala, o un servidor de correo que rechaza a todos. Levante las que no lo merecen.".into(),
            ),
            (
                format!("{last_day} addresses were suppressed in a day; {usual} are usual."),
                "Read their details: a bad list, or a mail server that refuses everybody. Lift those that do not deserve it.".into(),
            ),
        ),
        What::EndpointDisabled { endpoint, gone } => {
            let (es, en) = if *gone { ("respondió 410", "it answered 410") } else { ("no aceptó nada durante días", "it took nothing for days") };
            (
                (
                    format!("El endpoint {endpoint} está desactivado{since}: {es}."),
                    "Hable con el partner; después POST /api/v1/webhooks/endpoints/{id}/resume/ y reenvíe lo perdido.".into(),
                ),
                (
                    format!("The endpoint {endpoint} has been disabled{since}: {en}."),
                    "Talk to the partner; then POST /api/v1/webhooks/endpoints/{id}/resume/, and send again what was missed.".into(),
                ),
            )
        }
        What::OpenToStrangers => (
            (
                "La API está abierta sin clave (ALLOW_ANONYMOUS_API) y otras máquinas llegan a ella.".into(),
                "Cree claves con `recado api-key create` y quite ALLOW_ANONYMOUS_API, o escuche solo en 127.0.0.1.".into(),
            ),
            (
                "The API is open without a key (ALLOW_ANONYMOUS_API), and other machines reach it.".into(),
                "Make keys with `recado api-key create` and remove ALLOW_ANONYMOUS_API, or listen on 127.0.0.1 alone.".into(),
            ),
        ),
    };
    let (sentence, remedy) = language.pick(spanish, english);
    Told { sentence, remedy }
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
