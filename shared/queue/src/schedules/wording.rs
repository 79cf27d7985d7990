//! Cron expressions in words, from what was parsed: however an expression is written, its fields have 60 values at most. Pure.

use std::collections::BTreeSet;

use recado_kernel::language::Language;

use super::cron::{CronExpression, Parsed};

/// Lists with more entries than this are shortened.
const LONGEST_LIST: usize = 8;

/// More times of the day than this are told as minutes and hours.
const MOST_TIMES: usize = 4;

const DAYS: [(&str, &str, &str); 7] = [
    ("domingo", "domingos", "Sunday"),
    ("lunes", "lunes", "Monday"),
    ("martes", "martes", "Tuesday"),
    ("miércoles", "miércoles", "Wednesday"),
    ("jueves", "jueves", "Thursday"),
    ("viernes", "viernes", "Friday"),
    ("sábado", "sábados", "Saturday"),
];

const MONTHS: [(&str, &str); 12] = [
    ("enero", "January"),
    ("febrero", "February"),
    ("marzo", "March"),
    ("abril", "April"),
    ("mayo", "May"),
    ("junio", "June"),
    ("julio", "July"),
    ("agosto", "August"),
    ("septiembre", "September"),
    ("octubre", "October"),
    ("noviembre", "November"),
    ("diciembre", "December"),
];

/// `todos los días a las 08:00`, `every 15 minutes`.
pub fn in_words(expression: &CronExpression, language: Language) -> String {
    let fields = expression.fields();
    let [minutes, hours, days, months, weekdays] = &fields;
    let time = time_of(&minutes.values, &hours.values, language);
    let day = day_of(days, weekdays, expression.is_either_day(), language);
    let month = (months.values.len() < 12).then(|| {
        let names = months.values.iter().map(|month| {
            let (spanish, english) = MONTHS[usize::from(*month) - 1];
            language.pick(spanish, english).to_owned()
        });
        format!(" {} {}", language.pick("en", "in"), list(names, language))
    });
    let month = month.unwrap_or_default();
    // Without a day of its own, a time that recurs within the hour needs none.
    match day {
        None if time.recurs => format!("{}{month}", time.text),
        None => format!("{} {}{month}", language.pick("todos los días", "every day"), time.text),
        Some(day) => format!("{day} {}{month}", time.text),
    }
}

struct Time {
    text: String,
    /// Several times a day.
    recurs: bool,
}

fn time_of(minutes: &BTreeSet<u8>, hours: &BTreeSet<u8>, language: Language) -> Time {
    let recurring = |text: String| Time { text, recurs: true };
    let (all_hours, all_minutes) = (hours.len() == 24, minutes.len() == 60);
    if !all_hours && minutes.len() * hours.len() <= MOST_TIMES {
        let times = hours.iter().flat_map(|hour| minutes.iter().map(move |minute| format!("{hour:02}:{minute:02}")));
        return Time { text: format!("{} {}", language.pick("a las", "at"), list(times, language)), recurs: false };
    }
    let every = match (all_minutes, step_of(minutes, 60)) {
        (true, _) => language.pick("cada minuto", "every minute").to_owned(),
        (_, Some(60)) if minutes.contains(&0) => language.pick("a la hora en punto", "on the hour").to_owned(),
        (_, Some(step)) if step < 60 && minutes.contains(&0) => {
            language.pick(format!("cada {step} minutos"), format!("every {step} minutes"))
        }
        _ => {
            let minutes = list(minutes.iter().map(ToString::to_string), language);
            language.pick(format!("en el minuto {minutes} de la hora"), format!("at minute {minutes} past the hour"))
        }
    };
    if all_hours {
        return recurring(every);
    }
    let (first, last) = (hours.first().copied().unwrap_or_default(), hours.last().copied().unwrap_or_default());
    let is_range = usize::from(last - first) + 1 == hours.len();
    recurring(match step_of(hours, 24) {
        Some(step) if hours.len() > 2 && hours.contains(&0) && !is_range => {
            language.pick(format!("{every}, cada {step} horas"), format!("{every}, every {step} hours"))
        }
        _ if is_range => language.pick(
            format!("{every}, de {first:02}:00 a {last:02}:59"),
            format!("{every}, from {first:02}:00 to {last:02}:59"),
        ),
        _ => {
            let hours = list(hours.iter().map(|hour| format!("{hour:02}")), language);
            language.pick(format!("{every}, a las horas {hours}"), format!("{every}, in the hours {hours}"))
        }
    })
}

/// The distance between the values, when it is the same everywhere around the clock.
fn step_of(values: &BTreeSet<u8>, size: u8) -> Option<u8> {
    let (first, last) = (*values.first()?, *values.last()?);
    let gaps: BTreeSet<u8> = values.iter().zip(values.iter().skip(1)).map(|(one, next)| next - one).collect();
    let around = size - last + first;
    match gaps.len() {
        0 => Some(size),
        1 if gaps.contains(&around) => Some(around),
        _ => None,
    }
}

fn day_of(days: &Parsed, weekdays: &Parsed, either: bool, language: Language) -> Option<String> {
    let of_month = (!days.is_all).then(|| {
        let numbers = list(days.values.iter().map(ToString::to_string), language);
        let (one, several) = (format!("el día {numbers} del mes"), format!("los días {numbers} del mes"));
        let spanish = if days.values.len() == 1 { one } else { several };
        language.pick(spanish, format!("on day {numbers} of the month"))
    });
    let of_week = (!weekdays.is_all).then(|| weekdays_in_words(&weekdays.values, language));
    match (of_month, of_week) {
        (Some(of_month), Some(of_week)) if either => Some(format!("{of_month} {} {of_week}", language.pick("o", "or"))),
        (Some(of_month), Some(of_week)) => {
            Some(language.pick(format!("{of_week} que sean {of_month}"), format!("{of_week} that fall {of_month}")))
        }
        (of_month, of_week) => of_month.or(of_week),
    }
}

fn weekdays_in_words(weekdays: &BTreeSet<u8>, language: Language) -> String {
    let name = |day: &u8| DAYS[usize::from(*day) % 7];
    let (first, last) = (weekdays.first().copied().unwrap_or_default(), weekdays.last().copied().unwrap_or_default());
    if weekdays.len() > 2 && usize::from(last - first) + 1 == weekdays.len() {
        let ((from, _, english_from), (to, _, english_to)) = (name(&first), name(&last));
        return language.pick(format!("de {from} a {to}"), format!("{english_from} to {english_to}"));
    }
    match language {
        Language::Spanish => format!("los {}", list(weekdays.iter().map(|day| name(day).1.to_owned()), language)),
        Language::English => format!("on {}", list(weekdays.iter().map(|day| name(day).2.to_owned()), language)),
    }
}

/// `a, b y c`; of a long list the beginning.
fn list(items: impl Iterator<Item = String>, language: Language) -> String {
    let mut items: Vec<String> = items.collect();
    if items.len() > LONGEST_LIST {
        items.truncate(LONGEST_LIST);
        return format!("{}, …", items.join(", "));
    }
    let Some(last) = items.pop() else { return String::new() };
    if items.is_empty() { last } else { format!("{} {} {last}", items.join(", "), language.pick("y", "and")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_told_in_both_languages() {
        let table = [
            ("0 8 * * *", "todos los días a las 08:00", "every day at 08:00"),
            ("0 0 * * 0", "los domingos a las 00:00", "on Sunday at 00:00"),
            ("30 9 * * 1-5", "de lunes a viernes a las 09:30", "Monday to Friday at 09:30"),
            ("0 8,20 * * *", "todos los días a las 08:00 y 20:00", "every day at 08:00 and 20:00"),
            ("*/15 * * * *", "cada 15 minutos", "every 15 minutes"),
            ("* * * * *", "cada minuto", "every minute"),
            ("0 * * * *", "a la hora en punto", "on the hour"),
            ("7 * * * *", "en el minuto 7 de la hora", "at minute 7 past the hour"),
            ("0 */2 * * *", "a la hora en punto, cada 2 horas", "on the hour, every 2 hours"),
            (
                "*/10 8-17 * * 1-5",
                "de lunes a viernes cada 10 minutos, de 08:00 a 17:59",
                "Monday to Friday every 10 minutes, from 08:00 to 17:59",
            ),
            ("0 6 1 * *", "el día 1 del mes a las 06:00", "on day 1 of the month at 06:00"),
            (
                "0 6 1,15 1,7 *",
                "los días 1 y 15 del mes a las 06:00 en enero y julio",
                "on day 1 and 15 of the month at 06:00 in January and July",
            ),
            (
                "0 6 13 * 5",
                "el día 13 del mes o los viernes a las 06:00",
                "on day 13 of the month or on Friday at 06:00",
            ),
            (
                "0 6 */10 * 1",
                "los lunes que sean los días 1, 11, 21 y 31 del mes a las 06:00",
                "on Monday that fall on day 1, 11, 21 and 31 of the month at 06:00",
            ),
        ];
        for (cron, spanish, english) in table {
            let expression: CronExpression = cron.parse().expect(cron);
            assert_eq!(in_words(&expression, Language::Spanish), spanish, "{cron}");
            assert_eq!(in_words(&expression, Language::English), english, "{cron}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_parses_is_told_in_a_few_words(
            minute in "[0-9*/,-]{1,8}", hour in "[0-9*/,-]{1,8}", day in "[0-9*/,-]{1,8}", month in "[0-9*/,-]{1,8}", weekday in "[0-9*/,-]{1,8}",
        ) {
            if let Ok(expression) = format!("{minute} {hour} {day} {month} {weekday}").parse::<CronExpression>() {
                for language in Language::ALL {
                    let words = in_words(&expression, language);
                    proptest::prop_assert!(!words.is_empty() && words.len() < 400, "{}", words);
                }
            }
        }
    }
}
