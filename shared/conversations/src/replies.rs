//! What an operator answers to a notice, and to which request, pure.

use recado_kernel::ids::Id;

/// An operator's word on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Available,
    Rejected,
}

/// Reads a text that is an answer and nothing else: `1, sí, si, yes, confirmar` or `2, no, rechazar`, in any case.
pub fn read(text: &str) -> Option<Reply> {
    // Some telephones write the accent as a letter of its own.
    let word = text.trim().to_lowercase().replace("i\u{301}", "í");
    match word.as_str() {
        "1" | "sí" | "si" | "yes" | "confirmar" => Some(Reply::Available),
        "2" | "no" | "rechazar" => Some(Reply::Rejected),
        _ => None,
    }
}

/// A request that waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Waiting {
    pub id: Id,
    /// The chat in which the operator was told.
    pub told_to: String,
    /// WhatsApp's id of the notice, where it is known.
    pub notice_whatsapp_id: Option<String>,
}

/// Which of the waiting requests is answered in one of these chats: the one whose notice is quoted, else the newest.
/// `waiting` begins with the newest.
pub fn choose<'w>(waiting: &'w [Waiting], chats: &[String], quoted: Option<&str>) -> Option<&'w Waiting> {
    let here = || waiting.iter().filter(|request| chats.contains(&request.told_to));
    let is_quoted = |request: &&Waiting| quoted.is_some() && request.notice_whatsapp_id.as_deref() == quoted;
    here().find(is_quoted).or_else(|| here().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_nothing_but_an_answer() {
        for yes in ["1", " 1\n", "sí", "SÍ", "si\u{301}", "Si", "yes", "YES", "Confirmar"] {
            assert_eq!(read(yes), Some(Reply::Available), "{yes:?}");
        }
        for no in ["2", "no", "NO ", "rechazar", "Rechazar"] {
            assert_eq!(read(no), Some(Reply::Rejected), "{no:?}");
        }
        for neither in ["", "3", "1.", "12", "1 2", "sí, claro", "no sé", "ok", "👍", "sii", "confirmar RES-A1"] {
            assert_eq!(read(neither), None, "{neither:?}");
        }
    }

    /// d30: two requests waiting in one group.
    #[test]
    fn a_quoted_notice_decides_else_the_newest() {
        let request = |name: &str, notice: Option<&str>, chat: &str| Waiting {
            id: Id::of_name(name),
            told_to: chat.to_owned(),
            notice_whatsapp_id: notice.map(str::to_owned),
        };
        let waiting = [request("c", None, "g2"), request("b", Some("m2"), "g1"), request("a", Some("m1"), "g1")];
        let chosen = |chats: &[&str], quoted| {
            let chats: Vec<String> = chats.iter().map(|chat| (*chat).to_owned()).collect();
            choose(&waiting, &chats, quoted).map(|request| request.id)
        };
        assert_eq!(chosen(&["g1"], None), Some(Id::of_name("b")));
        assert_eq!(chosen(&["g1"], Some("m1")), Some(Id::of_name("a")));
        assert_eq!(chosen(&["g1"], Some("of something else")), Some(Id::of_name("b")));
        assert_eq!(chosen(&["g2"], Some("m1")), Some(Id::of_name("c")), "a notice of another chat is not meant");
        assert_eq!(chosen(&["g2", "g1"], None), Some(Id::of_name("c")));
        assert_eq!(chosen(&["g3"], Some("m1")), None);
    }
}
