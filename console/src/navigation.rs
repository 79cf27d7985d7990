//! The navigation: parts of the console, and the pages in each. The frame draws it twice, for a desk and for a phone, and the
//! list of keys is read from it.

use recado_kernel::users::Role;

/// A page that the navigation leads to.
pub(crate) struct Link {
    /// What a page says to be marked as the current one.
    pub(crate) section: &'static str,
    /// The message `…-title` of the page.
    pub(crate) title: &'static str,
    pub(crate) path: &'static str,
    /// The key that leads there after `g`.
    pub(crate) key: Option<&'static str>,
    needs: Role,
    /// It is only there where a sandbox stands in for the providers.
    pub(crate) is_of_sandbox: bool,
}

/// A part of the console: pages about one thing.
pub(crate) struct Group {
    /// The message `group-…`.
    pub(crate) word: &'static str,
    links: &'static [Link],
}

const fn link(section: &'static str, title: &'static str, path: &'static str) -> Link {
    Link { section, title, path, key: None, needs: Role::Viewer, is_of_sandbox: false }
}

impl Link {
    const fn key(self, key: &'static str) -> Self {
        Self { key: Some(key), ..self }
    }

    const fn of_sandbox(self) -> Self {
        Self { is_of_sandbox: true, ..self }
    }

    const fn needs(self, needs: Role) -> Self {
        Self { needs, ..self }
    }
}

/// All of it. A group without a page is not drawn.
const GROUPS: &[Group] = &[
    Group { word: "today", links: &[link("today", "today-title", "/admin/").key("h")] },
    Group {
        word: "messages",
        links: &[
            link("notifications", "messages-title", "/admin/notifications/").key("m"),
            link("failures", "failures-title", "/admin/failures/").key("f"),
            link("try", "try-title", "/admin/try/").key("d"),
            link("inbox", "inbox-title", "/admin/inbox/").key("i").of_sandbox(),
        ],
    },
    Group {
        word: "work",
        links: &[
            link("tasks", "tasks-title", "/admin/tasks/").key("t"),
            link("queues", "queues-title", "/admin/queues/").key("q"),
            link("workers", "workers-title", "/admin/workers/").key("w"),
            link("schedules", "schedules-title", "/admin/schedules/").key("s"),
            link("bulk", "bulk-title", "/admin/bulk/"),
        ],
    },
    Group {
        word: "people",
        links: &[
            link("customers", "customers-title", "/admin/customers/").key("c"),
            link("vehicles", "vehicles-title", "/admin/vehicles/"),
            link("reminders", "reminders-title", "/admin/reminders/"),
            link("suppressions", "suppressions-title", "/admin/suppressions/"),
        ],
    },
    Group {
        word: "texts",
        links: &[
            link("templates", "templates-title", "/admin/templates/").key("p"),
            link("matrix", "matrix-title", "/admin/matrix/").key("x"),
        ],
    },
    Group {
        word: "partners",
        links: &[
            link("partners", "partners-title", "/admin/partners/"),
            link("deliveries", "deliveries-title", "/admin/webhooks/deliveries/"),
            link("endpoints", "endpoints-title", "/admin/webhooks/endpoints/"),
            link("inbound", "inbound-title", "/admin/webhooks/inbound/"),
            link("crm", "crm-title", "/admin/crm/mapping/"),
            link("signatures", "signatures-title", "/admin/signatures/"),
        ],
    },
    Group {
        word: "whatsapp",
        links: &[
            link("whatsapp", "whatsapp-title", "/admin/whatsapp/"),
            link("chats", "chats-title", "/admin/conversations/chats/"),
            link("requests", "requests-title", "/admin/conversations/requests/").key("r"),
            link("operators", "operators-title", "/admin/conversations/operators/"),
            link("experiences", "experiences-title", "/admin/conversations/experiences/"),
        ],
    },
    Group {
        word: "settings",
        links: &[
            link("workshops", "workshops-title", "/admin/workshops/"),
            link("providers", "providers-title", "/admin/providers/").needs(Role::Admin),
            link("keys", "keys-title", "/admin/keys/").needs(Role::Admin),
            link("users", "users-title", "/admin/users/").needs(Role::Admin),
            link("audit", "audit-title", "/admin/audit/").needs(Role::Admin),
        ],
    },
];

impl Group {
    /// The pages that a person with these rights may open.
    pub(crate) fn links(&self, may: impl Fn(Role) -> bool) -> Vec<&'static Link> {
        self.links.iter().filter(|link| may(link.needs)).collect()
    }

    /// Whether one of its pages is the current one.
    pub(crate) fn holds(&self, section: &str) -> bool {
        self.links.iter().any(|link| link.section == section)
    }
}

/// The groups in which a person may open something.
pub(crate) fn groups(may: impl Fn(Role) -> bool) -> Vec<&'static Group> {
    GROUPS.iter().filter(|group| !group.links(&may).is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_and_sections_are_used_once() {
        let links: Vec<&Link> = GROUPS.iter().flat_map(|group| group.links(|_| true)).collect();
        let sections: BTreeSet<&str> = links.iter().map(|link| link.section).collect();
        let keys: Vec<&str> = links.iter().filter_map(|link| link.key).collect();
        assert_eq!(sections.len(), links.len());
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
    }

    #[test]
    fn a_link_that_may_not_be_followed_is_not_drawn() {
        let paths = |role: Role| -> Vec<&str> {
            let may = |needed: Role| role == Role::Admin || needed == Role::Viewer;
            groups(may).into_iter().flat_map(|group| group.links(may)).map(|link| link.path).collect()
        };
        assert!(paths(Role::Admin).contains(&"/admin/audit/") && !paths(Role::Viewer).contains(&"/admin/audit/"));
    }
}
