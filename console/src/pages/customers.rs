//! Customers: whom there is, found by what one knows of a person, and what is kept of her in a form.
//!
//! Addresses are hidden here, in the form too: an empty field leaves one as it is, so that who changes a name need not see them.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::keyset::Cursor;
use recado_kernel::db::{self, Violation};
use recado_kernel::sealed;
use recado_kernel::time_of_day::TimeOfDay;
use recado_kernel::users::Role;
use recado_notifications::channels::{self, Channel};
use recado_notifications::customers::{self, Customer, CustomerDraft, SearchIn};
use secrecy::{ExposeSecret, SecretString};

use crate::Console;
use crate::auth::{Edit, Look, May};
use crate::failure::Failure;
use crate::form::Form;
use crate::lists::{Around, Query, ROWS};
use crate::notice::{Notice, then};
use crate::page::{Page, html, refused};
use crate::path::Path;
use crate::urls::encoded;

pub(super) const PATH: &str = "/admin/customers/";

/// The addresses of a customer: the fields of its form, and on which channel they are written to.
pub(super) const ADDRESSES: [(&str, Channel); 3] =
    [("email", Channel::Email), ("phone", Channel::Whatsapp), ("whatsapp", Channel::Whatsapp)];

// --- The list ---

#[derive(Template)]
#[template(path = "customers/list.html")]
struct ListPage {
    page: Page,
    search: String,
    /// Whether addresses are searched by their parts too.
    is_everywhere: bool,
    rows: Vec<Row>,
    around: Around,
}

struct Row {
    path: String,
    customer_id: String,
    name: String,
    email: Option<String>,
    phone: Option<String>,
    updated_at: Timestamp,
}

impl From<Customer> for Row {
    fn from(customer: Customer) -> Self {
        Self {
            path: path_of(&customer.customer_id),
            name: customer.full_name(),
            email: masked(&customer, "email"),
            phone: masked(&customer, "whatsapp").or_else(|| masked(&customer, "phone")),
            customer_id: customer.customer_id,
            updated_at: customer.updated_at,
        }
    }
}

/// `/admin/customers/`. By `customer_id`, and not by time: it is a card index.
pub(crate) async fn list(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let asked = Query::read(&may.visit.query);
    let search = asked.text("search");
    // Who does not see addresses finds them only as a whole.
    let is_everywhere = may.visit.may(Role::Operator);
    let place_of_search = if is_everywhere { SearchIn::All } else { SearchIn::Whole };
    let (after, before) = (asked.text("after"), asked.text("before"));
    let cursor = Cursor::of_link(after.as_deref(), before.as_deref());
    let mut session = console.context.db.read().await?;
    let sought = search.as_deref().map(|search| (search, place_of_search));
    let (found, has_more) = customers::page(&mut session, sought, cursor, ROWS).await?;
    drop(session);
    let end = |customer: Option<&Customer>| customer.map(|customer| customer.customer_id.clone());
    html(&ListPage {
        page: Page::new(&console, &may.visit, "customers", "customers-title"),
        search: search.unwrap_or_default(),
        is_everywhere,
        around: Around::of_texts(&asked, PATH, end(found.first()), end(found.last()), has_more),
        rows: found.into_iter().map(Row::from).collect(),
    })
}

/// Where a customer is: a `customer_id` may hold anything.
pub(super) fn path_of(customer_id: &str) -> String {
    format!("{PATH}{}/", encoded(customer_id))
}

/// One of the addresses, by its field.
pub(super) fn address<'c>(customer: &'c Customer, field: &str) -> Option<&'c str> {
    match field {
        "email" => customer.email.as_deref(),
        "phone" => customer.phone.as_deref(),
        _ => customer.whatsapp.as_deref(),
    }
}

/// The same with its middle hidden.
pub(super) fn masked(customer: &Customer, field: &str) -> Option<String> {
    let (_, channel) = ADDRESSES.into_iter().find(|(name, _)| *name == field)?;
    channels::mask(channel, address(customer, field)?)
}

// --- The form ---

#[derive(Template)]
#[template(path = "customers/edit.html")]
struct EditPage {
    page: Page,
    form: Form,
    path: String,
    /// What is there; `None` while it is written for the first time.
    customer: Option<Customer>,
    /// The addresses that there are, hidden: field and what is shown.
    addresses: Vec<(&'static str, String)>,
}

impl EditPage {
    /// What is said beside the field of an address.
    fn said(&self, field: &str) -> String {
        match self.addresses.iter().find(|(name, _)| *name == field) {
            Some((_, masked)) => self.page.t1("customer-address-stays", "address", masked),
            None => String::new(),
        }
    }

    fn has(&self, field: &str) -> bool {
        self.addresses.iter().any(|(name, _)| *name == field)
    }
}

/// `/admin/customers/new/`
pub(crate) async fn new(may: May<Edit>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    html(&page_of(&console, &may, None, form_of(&CustomerDraft::default())))
}

/// `/admin/customers/{customer_id}/edit/`
pub(crate) async fn edit(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(customer_id): Path<String>,
) -> Result<Response, Failure> {
    let found = customers::find(&mut console.context.db.read().await?, &customer_id).await?.ok_or(Failure::NotFound)?;
    let form = form_of(&CustomerDraft::from(found.clone())).read_at(found.updated_at.as_micros());
    html(&page_of(&console, &may, Some(found), form))
}

fn page_of(console: &Console, may: &May<Edit>, customer: Option<Customer>, form: Form) -> EditPage {
    match customer {
        Some(customer) => EditPage {
            page: Page::new(console, &may.visit, "customers", "customer-edit").about(&customer.customer_id),
            path: path_of(&customer.customer_id),
            addresses: ADDRESSES
                .into_iter()
                .filter_map(|(field, _)| Some((field, masked(&customer, field)?)))
                .collect(),
            customer: Some(customer),
            form,
        },
        None => EditPage {
            page: Page::new(console, &may.visit, "customers", "customer-new"),
            path: PATH.to_owned(),
            addresses: Vec::new(),
            customer,
            form,
        },
    }
}

/// A customer as the fields of the form, without addresses.
fn form_of(draft: &CustomerDraft) -> Form {
    let time = |time: Option<TimeOfDay>| time.map(|time| time.to_string()).unwrap_or_default();
    Form::of([
        ("customer_id", draft.customer_id.clone()),
        ("first_name", draft.first_name.clone()),
        ("last_name", draft.last_name.clone()),
        ("quiet_from", time(draft.quiet_from)),
        ("quiet_until", time(draft.quiet_until)),
        ("time_zone", draft.time_zone.clone().unwrap_or_default()),
    ])
}

/// The fields of a customer without addresses: those in which two editors can differ.
fn fields_of(customer: &Customer) -> Vec<(&'static str, String)> {
    let kept = form_of(&CustomerDraft::from(customer.clone()));
    let fields = ["first_name", "last_name", "quiet_from", "quiet_until", "time_zone"];
    fields.map(|field| (field, kept.value(field).to_owned())).into()
}

/// The fields that make a customer what it was. Those addresses are among them that a form has changed, sealed, because an undo
/// stands in a cookie and in a page. `None`: an address was changed, and there is no key to seal it with.
fn undo_of(before: &Customer, after: &Customer, key: Option<&SecretString>) -> Option<Form> {
    let mut fields = fields_of(before);
    for (field, _) in ADDRESSES {
        match (address(before, field), address(after, field)) {
            (was, is) if was == is => {}
            (Some(was), _) => {
                let was = SecretString::from(was.to_owned());
                fields.push((sealed_of(field), sealed::seal(key?, &owner_of(before, field), &was).ok()?));
            }
            (None, _) => fields.push((remove_of(field), "on".to_owned())),
        }
    }
    Some(Form::of(fields))
}

/// To whom a sealed address belongs: it can be brought back in this place, and nowhere else.
fn owner_of(customer: &Customer, field: &str) -> String {
    format!("{field} of the customer {}", customer.id)
}

/// The field of an undo that holds a sealed address.
fn sealed_of(field: &str) -> &'static str {
    match field {
        "email" => "sealed_email",
        "phone" => "sealed_phone",
        _ => "sealed_whatsapp",
    }
}

/// The box that takes an address away.
fn remove_of(field: &str) -> &'static str {
    match field {
        "email" => "remove_email",
        "phone" => "remove_phone",
        _ => "remove_whatsapp",
    }
}

/// What a form says over what is there, with what is wrong in it added to the form.
fn draft_of(form: &mut Form, page: &Page, console: &Console, known: Option<&Customer>) -> Option<CustomerDraft> {
    let key = console.context.config.secret_key.as_ref();
    let brought_back = |form: &Form, field: &str| {
        let opened = sealed::open(key?, &owner_of(known?, field), &form.optional(sealed_of(field))?).ok()?;
        Some(opened.expose_secret().to_owned())
    };
    let new_address = |form: &Form, field: &str| {
        let kept = known.filter(|_| !form.is_ticked(remove_of(field))).and_then(|known| address(known, field));
        form.optional(field).or_else(|| brought_back(form, field)).or_else(|| kept.map(str::to_owned))
    };
    let draft = CustomerDraft {
        customer_id: known.map_or_else(|| form.text("customer_id"), |known| known.customer_id.clone()),
        first_name: form.text("first_name"),
        last_name: form.text("last_name"),
        name: None,
        email: new_address(form, "email"),
        phone: new_address(form, "phone"),
        whatsapp: new_address(form, "whatsapp"),
        quiet_from: form.parsed("quiet_from", || page.t("form-wrong-time")),
        quiet_until: form.parsed("quiet_until", || page.t("form-wrong-time")),
        time_zone: form.optional("time_zone"),
    };
    if draft.first_name.is_empty() {
        form.add_error("first_name", page.t("people-required"));
    }
    match draft.checked(&console.context.config.default_country) {
        Ok(draft) => Some(draft),
        Err(errors) => {
            form.add_errors(page.speaks(), errors);
            None
        }
    }
}

/// Adds a customer.
pub(crate) async fn create(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    mut form: Form,
) -> Result<Response, Failure> {
    let mut shown = page_of(&console, &may, None, Form::default());
    let draft = draft_of(&mut form, &shown.page, &console, None);
    if let Some(draft) = draft.filter(|_| !form.is_wrong()) {
        let mut session = console.context.db.begin().await?;
        match customers::insert(&mut session, &draft, &may.visit.actor(), may.visit.now).await {
            Ok(made) => {
                session.commit().await?;
                let there = path_of(&made.customer_id);
                let undo = format!("{there}delete/?typed={}", encoded(&made.customer_id));
                return Ok(then(&there, &Notice::new("customer-made", 1).undone_by(undo)));
            }
            Err(error) if is_taken(&error) => form.add_error("customer_id", shown.page.t("customer-taken")),
            Err(error) => return Err(error.into()),
        }
    }
    shown.form = form;
    refused(&shown)
}

/// Changes a customer.
pub(crate) async fn save(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(customer_id): Path<String>,
    mut form: Form,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let customer = customers::lock(&mut session, &customer_id).await?.ok_or(Failure::NotFound)?;
    let mut shown = page_of(&console, &may, Some(customer.clone()), Form::default());
    let draft = draft_of(&mut form, &shown.page, &console, Some(&customer));
    // Neither the identifier nor addresses are compared: the one never changes, and the others are not shown.
    form.find_conflicts(customer.updated_at.as_micros(), &Form::of(fields_of(&customer)));
    if let Some(draft) = draft.filter(|_| !form.is_wrong()) {
        let written = customers::replace(&mut session, &customer, &draft, &may.visit.actor(), may.visit.now).await?;
        session.commit().await?;
        let there = path_of(&customer_id);
        let undo = undo_of(&customer, &written, console.context.config.secret_key.as_ref());
        let saved = Notice::new("saved", 1);
        return Ok(then(&there, &undo.map_or(saved.clone(), |undo| undo.undo(saved, &there))));
    }
    shown.form = form;
    refused(&shown)
}

fn is_taken(error: &db::Error) -> bool {
    error.violates("customers_customer_id_key", "customers.customer_id")
}
