//! Queue `sync`: a customer as the Core service knows it.

use recado_shared::context::Context;
use recado_shared::customers::{self, CustomerSync};
use serde_json::json;

use crate::run::{Outcome, Trouble};

pub(crate) async fn sync(context: &Context, customer: &CustomerSync) -> Result<Outcome, Trouble> {
    let mut session = context.db.begin().await?;
    let synced = customers::sync(&mut session, customer, context.clock.now()).await?;
    session.commit().await?;
    Ok(Outcome::Done(json!({ "customer_id": customer.customer_id, "outcome": synced })))
}
