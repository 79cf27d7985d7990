//! Showing an address that is masked otherwise, to a person who has to know it. Each time stands in the audit log.

use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;

use crate::channels::Channel;
use crate::notifications;

/// To where the messages of a notification's chain went, or would go; `None` when there is no such notification. Devices for pushes
/// have no address. The log says who looked at which notification, and not what they saw.
pub async fn addresses(
    session: &mut Session,
    notification: Id,
    actor: &Actor,
    now: Timestamp,
) -> Result<Option<Vec<(Channel, String)>>> {
    let chain = notifications::chain_of(session, notification).await?;
    if chain.is_empty() {
        return Ok(None);
    }
    audit::write(session, actor, &Act::new("reveal", "notification", notification), now).await?;
    let has_address = |(channel, address): &(Channel, String)| *channel != Channel::Push && !address.is_empty();
    let addresses = chain.into_iter().map(|message| (message.channel, message.recipient_address));
    Ok(Some(addresses.filter(has_address).collect()))
}
