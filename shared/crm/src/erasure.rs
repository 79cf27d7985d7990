//! A person asks to be forgotten: appointments, presences and sales that name her are emptied. Their ids stay, so that a CRM
//! that tells of them again brings nothing back.

use recado_kernel::db::{Ids, Result, Session, Texts};
use recado_kernel::ids::Id;
use recado_kernel::person::Person;
use recado_kernel::sql;

/// How far a search is (`None`: at the end), and how many rows named the person.
pub type Searched = (Option<String>, u64);

/// Looks through the next appointments behind `position`, in the order of their ids.
pub async fn forget_appointments(
    session: &mut Session,
    person: &Person,
    position: Option<&str>,
    limit: i64,
) -> Result<Searched> {
    let rows: Vec<(String, String)> = sql!(
        all(String, String),
        session,
        "select id, cast(lead as text) || ' ' || coalesce(place, '') from crm_appointments where id > $1 order by id limit $2",
        position.unwrap_or_default(),
        limit
    )?;
    let named = |(_, text): &&(String, String)| person.is_named_in(text);
    let hers: Vec<String> = rows.iter().filter(named).map(|(id, _)| id.clone()).collect();
    if !hers.is_empty() {
        sql!(
            run,
            session,
            "update crm_appointments set lead = '{\"nombre\":\"\",\"celular\":\"\"}', place = null where id = any($1)",
            Texts(&hers)
        )?;
    }
    let is_last = (rows.len() as i64) < limit;
    Ok((rows.into_iter().next_back().filter(|_| !is_last).map(|(id, _)| id), hers.len() as u64))
}

/// Looks through the next presences behind `position`, and their sales.
pub async fn forget_presences(
    session: &mut Session,
    person: &Person,
    position: Option<&str>,
    limit: i64,
) -> Result<Searched> {
    let after: Id = position.and_then(|position| position.parse().ok()).unwrap_or_default();
    let rows: Vec<(Id, String)> = sql!(
        all(Id, String),
        session,
        "select p.id, coalesce(p.phone, '') || ' | ' || coalesce(p.email, '') || ' | ' || p.client_name || ' | '
                || p.document_number || ' | ' || coalesce(p.address, '') || ' | ' || coalesce(p.notes, '') || ' | '
                || coalesce((select cast(s.details as text) from crm_sales s where s.presence_id = p.id), '')
         from crm_presences p where p.id > $1 order by p.id limit $2",
        after,
        limit
    )?;
    let hers: Vec<Id> = rows.iter().filter(|(_, text)| person.is_named_in(text)).map(|(id, _)| *id).collect();
    if !hers.is_empty() {
        sql!(
            run,
            session,
            "update crm_presences set client_name = '', document_type = null, document_number = '', phone = null, email = null,
                 address = null, district = null, notes = null
             where id = any($1)",
            Ids(&hers)
        )?;
        sql!(
            run,
            session,
            "update crm_sales set details = '{}', seller = null where presence_id = any($1)",
            Ids(&hers)
        )?;
    }
    let is_last = (rows.len() as i64) < limit;
    Ok((rows.last().filter(|_| !is_last).map(|(id, _)| id.to_string()), hers.len() as u64))
}
