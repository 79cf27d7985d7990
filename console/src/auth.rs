//! Who may come in. Each permission is a type, and [`May`] of it the proof that a handler holds.

use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use axum::extract::FromRequestParts;
use axum::http::header::ACCEPT_LANGUAGE;
use axum::http::request::Parts;
use chrono_tz::Tz;
use recado_kernel::audit::{Actor, ActorKind};
use recado_kernel::clock::Timestamp;
use recado_kernel::db;
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_kernel::sessions;
use recado_kernel::users::{self, Role, Roles, User};

use crate::failure::Failure;
use crate::words::Words;
use crate::{Console, Visitor, cookies};

/// What a route needs of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: pages before the login.
    Nothing,
    /// To be logged in.
    Login,
    Role(Role),
}

/// A permission as a type.
pub(crate) trait Permission: Send {
    const NEEDS: Needs;
}

/// Anybody, before the login.
pub(crate) struct Enter;

/// Everyone who is logged in, about themselves.
pub(crate) struct Own;

/// Looking.
pub(crate) struct Look;

/// Acting on work.
pub(crate) struct Operate;

/// Changing texts, the matrix, and what is kept of people.
pub(crate) struct Edit;

/// All of it.
pub(crate) struct Administer;

impl Permission for Enter {
    const NEEDS: Needs = Needs::Nothing;
}

impl Permission for Own {
    const NEEDS: Needs = Needs::Login;
}

impl Permission for Look {
    const NEEDS: Needs = Needs::Role(Role::Viewer);
}

impl Permission for Operate {
    const NEEDS: Needs = Needs::Role(Role::Operator);
}

impl Permission for Edit {
    const NEEDS: Needs = Needs::Role(Role::Editor);
}

impl Permission for Administer {
    const NEEDS: Needs = Needs::Role(Role::Admin);
}

/// Proof that the caller may do what `P` says, and who that is.
pub(crate) struct May<P> {
    pub(crate) visit: Arc<Visit>,
    permission: PhantomData<P>,
}

/// The arguments of a handler that asks, read from their types.
pub(crate) trait Asks {
    const NEEDS: Needs;
}

/// axum describes a handler's arguments as a tuple that begins with a marker.
macro_rules! asks {
    ($($other:ident),*) => {
        impl<M, P: Permission, $($other),*> Asks for (M, May<P>, $($other),*) {
            const NEEDS: Needs = P::NEEDS;
        }
    };
}

asks!();
asks!(A);
asks!(A, B);
asks!(A, B, C);
asks!(A, B, C, D);

/// One request: who makes it, and how they want to see things.
pub(crate) struct Visit {
    /// `None`: the installation is open to its machine, or there is no login yet.
    pub(crate) user: Option<User>,
    pub(crate) session: Option<Id>,
    pub(crate) roles: Roles,
    pub(crate) visitor: Visitor,
    pub(crate) words: &'static Words,
    pub(crate) zone: Tz,
    pub(crate) now: Timestamp,
    /// The target of the request.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) notice: Option<String>,
}

impl Visit {
    /// What a visitor of whom nothing is known gets: the language of her browser.
    pub(crate) fn unknown(parts: &Parts, console: &Console) -> Self {
        let languages = parts.headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let visitor = parts.extensions.get::<Visitor>().cloned().unwrap_or_else(|| Visitor {
            address: None,
            host: String::new(),
            request_id: String::new(),
            through_our_proxy: false,
            is_let_in: false,
        });
        let chosen = cookies::read(&parts.headers, cookies::LANGUAGE).and_then(|word| word.parse().ok());
        Self {
            user: None,
            session: None,
            roles: Roles::default(),
            visitor,
            words: Words::of(chosen.unwrap_or_else(|| Language::accepted(languages))),
            zone: console.context.config.time_zone,
            now: console.context.clock.now(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            notice: cookies::read(&parts.headers, cookies::NOTICE),
        }
    }

    /// As `unknown`, with the person whom the cookie, the proxy or the openness of the installation names.
    async fn read(parts: &Parts, console: &Console) -> db::Result<Self> {
        let mut visit = Self::unknown(parts, console);
        let sitting = match cookies::session(&parts.headers, &visit.visitor.host) {
            Some(token) => sessions::find(&mut console.context.db.read().await?, &token, visit.now).await?,
            None => None,
        };
        if let Some(sitting) = sitting {
            if sitting.is_stale(visit.now) {
                let mut session = console.context.db.write().await?;
                sessions::touch(&mut session, sitting.session_id, visit.now).await?;
                session.commit().await?;
            }
            visit.session = Some(sitting.session_id);
            visit.becomes(sitting.user);
        } else if let Some(name) = named_by_proxy(parts, console, &visit.visitor) {
            let found = users::find_by_name(&mut console.context.db.read().await?, &name).await?;
            if let Some(user) = found.filter(|user| user.disabled_at.is_none()) {
                visit.becomes(user);
            }
        } else if visit.visitor.is_let_in && !users::any(&mut console.context.db.read().await?).await? {
            visit.roles = Roles(vec![Role::Admin]);
        }
        Ok(visit)
    }

    fn becomes(&mut self, user: User) {
        if let Some(language) = user.language.as_deref().and_then(|word| word.parse().ok()) {
            self.words = Words::of(language);
        }
        if user.utc {
            self.zone = Tz::UTC;
        }
        self.roles = user.roles.clone();
        self.user = Some(user);
    }

    /// Whether there is a person, or none is needed.
    pub(crate) fn is_inside(&self) -> bool {
        self.user.is_some() || !self.roles.0.is_empty()
    }

    /// Whether a button that needs this may be drawn.
    pub(crate) fn may(&self, role: Role) -> bool {
        self.roles.include(role)
    }

    fn meets(&self, needs: Needs) -> Result<(), Failure> {
        match needs {
            Needs::Nothing => Ok(()),
            _ if !self.is_inside() => Err(Failure::Login),
            Needs::Login => Ok(()),
            Needs::Role(role) if self.may(role) => Ok(()),
            Needs::Role(role) => Err(Failure::Forbidden(role)),
        }
    }

    /// For the audit log.
    pub(crate) fn actor(&self) -> Actor {
        let (kind, name) = match &self.user {
            Some(user) => (ActorKind::Person, user.name.clone()),
            None => (ActorKind::Anonymous, "local".to_owned()),
        };
        Actor { kind, name, address: self.address(), request_id: self.visitor.request_id.clone() }
    }

    pub(crate) fn address(&self) -> String {
        self.visitor.address.map(|ip| ip.to_string()).unwrap_or_default()
    }
}

/// The name that a proxy which authenticates people gives, where one is set up and it is the one that asks.
fn named_by_proxy(parts: &Parts, console: &Console, visitor: &Visitor) -> Option<String> {
    let header = console.context.config.console.trusted_header.as_deref()?;
    let name = parts.headers.get(header).filter(|_| visitor.through_our_proxy)?.to_str().ok()?;
    Some(name.to_owned()).filter(|name| !name.trim().is_empty())
}

/// Where the middleware finds the visit of a request that has been answered.
pub(crate) type Seen = Arc<OnceLock<Arc<Visit>>>;

impl<P: Permission> FromRequestParts<Arc<Console>> for May<P> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Failure> {
        let visit = Arc::new(Visit::read(parts, console).await?);
        if let Some(seen) = parts.extensions.get::<Seen>() {
            let _ = seen.set(visit.clone());
        }
        visit.meets(P::NEEDS)?;
        Ok(Self { visit, permission: PhantomData })
    }
}
