//! Which client calls an endpoint: the installation's, or one that also goes into the networks that are allowed to that endpoint
//! alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use recado_kernel::outbound::Reach;
use recado_webhooks::endpoints::{Endpoint, USUAL_TIMEOUT};
use reqwest::Client;

use crate::outbound::{self, Connections};

/// How far requests may go, and a client that goes no further.
pub(super) struct Caller {
    pub(super) reach: Reach,
    pub(super) client: Client,
}

/// Clients beside the installation's are forgotten beyond this number: each holds connections of its own, because a connection
/// into a network of one endpoint is none of the others'.
const MOST: usize = 100;

pub(super) struct Callers {
    usual: Arc<Caller>,
    /// By the networks that are allowed beyond those of the installation.
    others: Mutex<HashMap<Vec<String>, Arc<Caller>>>,
}

impl Caller {
    fn new(reach: Reach) -> Result<Arc<Self>, reqwest::Error> {
        let client = outbound::client(reach.clone(), USUAL_TIMEOUT, Connections::Kept)?;
        Ok(Arc::new(Self { reach, client }))
    }
}

impl Callers {
    /// # Errors
    /// As [`outbound::client`].
    pub(super) fn new(installation: Reach) -> Result<Self, reqwest::Error> {
        Ok(Self { usual: Caller::new(installation)?, others: Mutex::default() })
    }

    /// The one for this endpoint.
    ///
    /// # Errors
    /// As [`outbound::client`].
    pub(super) fn of(&self, endpoint: &Endpoint) -> Result<Arc<Caller>, reqwest::Error> {
        let networks = endpoint.allowed_networks();
        if networks.is_empty() {
            return Ok(self.usual.clone());
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = others.get(networks) {
            return Ok(known.clone());
        }
        let made = Caller::new(endpoint.reach(&self.usual.reach))?;
        if others.len() >= MOST {
            others.clear();
        }
        others.insert(networks.to_vec(), made.clone());
        Ok(made)
    }
}
