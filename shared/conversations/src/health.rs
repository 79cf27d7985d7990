//! Whether a session can be believed, pure. Connected means that a message would leave; a bridge says so for as long as its
//! browser runs, whatever became of WhatsApp behind it.

use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::word_enum;

/// What comes back comes back within seconds. After this it counts as missing.
pub const ECHO_DUE: Duration = Duration::from_secs(120);

/// So many texts without an echo are no accident.
const TOO_MANY_MISSING: i64 = 3;

/// One text alone is evidence when it has been missing for so long.
const MISSING_FOR_LONG: Duration = Duration::from_secs(10 * 60);

/// How long a session rests before it is tried again: a message through it, and its echo, show whether it lives.
pub const REST: Duration = Duration::from_secs(15 * 60);

/// Fewer messages than this have no rhythm.
const FEWEST_FOR_A_RHYTHM: usize = 30;

/// Silence is no sign before this.
const SHORTEST_SILENCE: Duration = Duration::from_secs(2 * 60 * 60);

/// What is known of a session that says it is connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Texts that were given to the bridge and should be back by now, since the session was last trusted.
    pub unconfirmed: i64,
    pub oldest_unconfirmed: Option<Timestamp>,
    /// The latest text that came back.
    pub last_confirmed: Option<Timestamp>,
    /// It was found out to be a zombie then.
    pub zombie_since: Option<Timestamp>,
}

/// What to think of a session that says it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A message would leave, as far as anybody knows.
    Sound,
    /// Texts do not come back, but none ever has: its webhooks may never have been set up. It is used.
    Unproven,
    /// Messages do not leave. It is not used until it has rested.
    Zombie { since: Timestamp },
    /// It has rested, and is tried again.
    OnTrial { since: Timestamp },
}

impl Verdict {
    /// Whether messages may be given to it.
    pub fn is_used(self) -> bool {
        !matches!(self, Self::Zombie { .. })
    }
}

/// How a session stands, for those who are told when that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Standing {
    /// A message would leave, as far as anybody knows.
    Sound,
    /// It is connected, and no message has come for longer than is usual.
    Silent,
    /// It calls itself connected, and nothing leaves.
    Zombie,
    /// It is not connected.
    Lost,
}

word_enum!(Standing, "how a session stands");

impl Standing {
    /// `verdict` and `is_silent` are of a session that says it is connected; `None`: it does not say so.
    pub fn of(connected: Option<(Verdict, bool)>) -> Self {
        match connected {
            None => Self::Lost,
            // On trial it is used, but whether it lives is not known.
            Some((Verdict::Zombie { .. } | Verdict::OnTrial { .. }, _)) => Self::Zombie,
            Some((Verdict::Sound | Verdict::Unproven, true)) => Self::Silent,
            Some((Verdict::Sound | Verdict::Unproven, false)) => Self::Sound,
        }
    }

    /// The type of the event that tells of it.
    pub const fn event_type(self) -> &'static str {
        match self {
            Self::Sound => "whatsapp_session.recovered",
            Self::Silent => "whatsapp_session.silent",
            Self::Zombie => "whatsapp_session.zombie",
            Self::Lost => "whatsapp_session.lost",
        }
    }

    /// Whether it is too early to tell: a session that has just been lost, and whose bridge is connecting it again.
    pub fn is_early(self, is_connecting: bool, lost_for: Duration, grace: Duration) -> bool {
        self == Self::Lost && is_connecting && lost_for < grace
    }

    /// What follows from it, by what was told last.
    pub fn after(self, told: Option<Self>) -> Announcement {
        match (told, self) {
            // One that was never connected is not lost, and one that was never in trouble has not recovered.
            (None, Self::Lost) => Announcement::Nothing,
            (None, Self::Sound) => Announcement::Note,
            (Some(told), standing) if told == standing => Announcement::Nothing,
            _ => Announcement::Tell,
        }
    }
}

/// What is done about how a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announcement {
    Nothing,
    /// It is kept, and no one is told.
    Note,
    Tell,
}

/// Decides. Evidence is looked for from [`trusted_from`] on.
pub fn judge(evidence: Evidence, now: Timestamp) -> Verdict {
    let Evidence { unconfirmed, oldest_unconfirmed, last_confirmed, zombie_since } = evidence;
    let came_back_since = |moment: Timestamp| last_confirmed.is_some_and(|at| at >= moment);
    let missing_for = oldest_unconfirmed.map_or(Duration::ZERO, |oldest| now.since(oldest));
    let is_missing = oldest_unconfirmed.is_some_and(|oldest| !came_back_since(oldest))
        && (unconfirmed >= TOO_MANY_MISSING || missing_for >= MISSING_FOR_LONG);
    match zombie_since {
        Some(since) if came_back_since(since) => Verdict::Sound,
        Some(since) if now.since(since) < REST => Verdict::Zombie { since },
        // Tried again, and nothing came back again.
        Some(_) if is_missing => Verdict::Zombie { since: now },
        Some(since) => Verdict::OnTrial { since },
        None if is_missing && last_confirmed.is_none() => Verdict::Unproven,
        None if is_missing => Verdict::Zombie { since: now },
        None => Verdict::Sound,
    }
}

/// From when on texts count against a session: since it was connected, and since it has rested.
pub fn trusted_from(connected_at: Option<Timestamp>, zombie_since: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let day_ago = now - Duration::from_secs(24 * 60 * 60);
    let rested = zombie_since.map(|since| since + REST);
    [connected_at, rested].into_iter().flatten().fold(day_ago, Timestamp::max)
}

/// Whether no message has come for longer than is usual: half as long again as the longest silence among the latest messages.
/// `moments` are theirs, in any order.
pub fn is_silent(moments: &[Timestamp], now: Timestamp) -> bool {
    let mut moments = moments.to_vec();
    moments.sort_unstable();
    let (Some(last), true) = (moments.last(), moments.len() >= FEWEST_FOR_A_RHYTHM) else { return false };
    let longest = moments.windows(2).map(|pair| pair[1].since(pair[0])).max().unwrap_or_default();
    now.since(*last) > SHORTEST_SILENCE.max(longest + longest / 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_change_is_told_once() {
        use Announcement::{Note, Nothing, Tell};
        for (told, standing, expected) in [
            (None, Standing::Lost, Nothing),
            (None, Standing::Sound, Note),
            (None, Standing::Zombie, Tell),
            (Some(Standing::Sound), Standing::Sound, Nothing),
            (Some(Standing::Sound), Standing::Lost, Tell),
            (Some(Standing::Lost), Standing::Lost, Nothing),
            (Some(Standing::Lost), Standing::Zombie, Tell),
            (Some(Standing::Silent), Standing::Sound, Tell),
        ] {
            assert_eq!(standing.after(told), expected, "{told:?} {standing:?}");
        }
        assert_eq!(Standing::of(None), Standing::Lost);
        assert_eq!(Standing::of(Some((Verdict::OnTrial { since: at(0) }, false))), Standing::Zombie);
        assert_eq!(Standing::of(Some((Verdict::Unproven, true))), Standing::Silent);
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(i64::try_from(seconds * 1_000_000).unwrap())
    }

    #[test]
    fn a_session_is_judged_by_what_comes_back() {
        let quiet = Evidence { last_confirmed: Some(at(50)), ..Evidence::default() };
        let missing = |unconfirmed, oldest| Evidence { unconfirmed, oldest_unconfirmed: Some(at(oldest)), ..quiet };
        let zombie = |evidence, since| Evidence { zombie_since: Some(at(since)), ..evidence };
        let rest = REST.as_secs();
        let table = [
            ("nothing was sent", Evidence::default(), 10_000, Verdict::Sound),
            ("all came back", quiet, 10_000, Verdict::Sound),
            ("two are missing for a moment", missing(2, 100), 250, Verdict::Sound),
            ("three are missing", missing(3, 100), 250, Verdict::Zombie { since: at(250) }),
            ("one is missing for long", missing(1, 100), 700, Verdict::Zombie { since: at(700) }),
            ("a later one came back", missing(3, 40), 700, Verdict::Sound),
            ("none ever came back", Evidence { last_confirmed: None, ..missing(9, 100) }, 700, Verdict::Unproven),
            ("it rests", zombie(missing(3, 100), 250), 250 + rest - 1, Verdict::Zombie { since: at(250) }),
            ("it has rested", zombie(quiet, 250), 250 + rest, Verdict::OnTrial { since: at(250) }),
            ("tried again in vain", zombie(missing(3, 1_200), 250), 1_400, Verdict::Zombie { since: at(1_400) }),
            ("it came back", zombie(Evidence { last_confirmed: Some(at(260)), ..quiet }, 250), 300, Verdict::Sound),
        ];
        for (what, evidence, now, verdict) in table {
            assert_eq!(judge(evidence, at(now)), verdict, "{what}");
        }
    }

    #[test]
    fn silence_is_judged_by_the_usual_rhythm() {
        let hourly: Vec<Timestamp> = (0..40).map(|hour| at(hour * 3_600)).collect();
        let after = |hours: f64| at((39.0 * 3_600.0 + hours * 3_600.0) as u64);
        assert!(!is_silent(&hourly, after(1.9)), "two hours are nothing");
        assert!(is_silent(&hourly, after(2.1)));
        assert!(!is_silent(&hourly[..20], after(100.0)), "too few for a rhythm");
        let mut with_night = hourly.clone();
        with_night.push(at(39 * 3_600 + 10 * 3_600));
        assert!(!is_silent(&with_night, at(39 * 3_600 + 24 * 3_600)), "a night of ten hours is usual");
        assert!(is_silent(&with_night, at(39 * 3_600 + 26 * 3_600)));
        assert!(!is_silent(&[], after(1.0)));
    }

    proptest! {
        /// A zombie is not used before it has rested, and one to which something came back is used at once.
        #[test]
        fn a_zombie_rests_and_comes_back(unconfirmed in 0..20_i64, oldest in 0..5_000_u64, since in 0..5_000_u64, later in 0..5_000_u64) {
            let evidence = Evidence {
                unconfirmed,
                oldest_unconfirmed: (unconfirmed > 0).then(|| at(oldest)),
                last_confirmed: None,
                zombie_since: Some(at(since)),
            };
            let now = at(since + later);
            if Duration::from_secs(later) < REST {
                prop_assert!(!judge(evidence, now).is_used());
            }
            let proven = Evidence { last_confirmed: Some(now), ..evidence };
            prop_assert_eq!(judge(proven, now), Verdict::Sound);
        }
    }
}
