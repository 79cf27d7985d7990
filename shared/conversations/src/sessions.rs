//! Sessions of WhatsApp: whether a bridge is connected.

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::{sql, word_enum};

/// The session of the Node service.
pub const BRIDGE: &str = "bridge";

/// How a session stands (S003-22).
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Status {
    Disconnected,
    QrPending,
    Connected,
    Expired,
}

word_enum!(Status, "a status of a session");

/// What a bridge tells of its session.
#[derive(Clone, Debug)]
pub enum Told {
    Status { status: Status, phone_number: Option<String>, push_name: Option<String> },
    Qr { qr: String },
}

/// Keeps what the bridge told.
pub async fn tell(session: &mut Session, told: &Told, now: Timestamp) -> Result<()> {
    let (status, phone_number, push_name, qr) = match told {
        Told::Status { status, phone_number, push_name } => {
            (*status, phone_number.as_deref(), push_name.as_deref(), None)
        }
        Told::Qr { qr } => (Status::QrPending, None, None, Some(qr.as_str())),
    };
    sql!(
        run,
        session,
        "insert into whatsapp_sessions (id, name, status, phone_number, push_name, qr_code, qr_at, last_seen_at, connected_at,
             created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $8, $8)
         on conflict (name) do update set status = excluded.status,
             phone_number = coalesce(excluded.phone_number, whatsapp_sessions.phone_number),
             push_name = coalesce(excluded.push_name, whatsapp_sessions.push_name),
             qr_code = excluded.qr_code, qr_at = excluded.qr_at, last_seen_at = excluded.last_seen_at,
             connected_at = coalesce(excluded.connected_at, whatsapp_sessions.connected_at),
             updated_at = excluded.updated_at",
        Id::new(now),
        BRIDGE,
        status,
        phone_number,
        push_name,
        qr,
        qr.map(|_| now),
        now,
        (status == Status::Connected).then_some(now)
    )?;
    Ok(())
}
