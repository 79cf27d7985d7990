//! Customers, what they prefer, and what is theirs (S002-16 to S002-21, S002-52).

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use recado_conversations::erasure as conversations;
use recado_kernel::addresses::{mask_email, mask_phone};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{self, Session, Violation};
use recado_kernel::ids::Id;
use recado_kernel::time_of_day::TimeOfDay;
use recado_notifications::channels::Channel;
use recado_notifications::customers::{self, Choice, Customer, CustomerDraft, Preference, SearchIn};
use recado_notifications::erasure::Erased;
use recado_notifications::push::{self, Device};
use recado_notifications::{reminders, vehicles};
use recado_systems::erasure;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::reminders::ReminderView;
use super::vehicles::VehicleView;
use crate::auth::keys::Caller;
use crate::auth::{Admin, May, Read};
use crate::extract::body::{Changes, Form, Json, Written};
use crate::extract::fields::Fields;
use crate::extract::once::{Created, IdempotencyHeader, Once};
use crate::extract::page::{Page, Paging};
use crate::extract::path::{Segment, Segments};
use crate::extract::query::Query;
use crate::extract::request::{Member, Request, request};
use crate::problem::{FieldErrors, Problem};
use crate::routing::routes;
use crate::state::{Api, Routes};

/// The most vehicles or reminders of one customer in one answer. For more there are the pages of the lists of vehicles and
/// reminders, with `customer_id`.
const MAX_ENTRIES: i64 = 1_000;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list, create))
        .routes(routes!(show, replace, change, delete))
        .routes(routes!(show_preferences))
        .routes(routes!(update_preferences))
        .routes(routes!(list_devices))
        .routes(routes!(remove_device))
        .routes(routes!(list_vehicles))
        .routes(routes!(list_reminders))
}

/// Customers, by `customer_id`. Addresses are masked, and not searched, unless the key has the scope `contacts` or `admin`.
#[utoipa::path(get, path = "/", tag = "customers", params(CustomerQuery, Paging),
    responses((status = 200, description = "A page of customers", body = Page<CustomerView>)))]
async fn list(
    May { caller, .. }: May<Read>,
    State(api): State<Arc<Api>>,
    Query(CustomerQuery { search }): Query<CustomerQuery>,
    paging: Paging,
) -> Result<axum::Json<Page<CustomerView>>, Problem> {
    let mut session = api.context.db.read().await?;
    let place = if caller.sees_contacts() { SearchIn::All } else { SearchIn::Names };
    let search = search.as_deref().map(|search| (search, place));
    let (found, count) = customers::list(&mut session, search, paging.limit(), paging.offset()).await?;
    let views = with_preferences(&mut session, found).await?;
    let views = views.into_iter().map(|view| view.for_eyes_of(&caller)).collect();
    Ok(axum::Json(paging.page(views, count)?))
}

/// Adds a customer.
#[utoipa::path(post, path = "/", tag = "customers", params(IdempotencyHeader), request_body = CustomerDraft,
    responses(
        (status = 201, description = "The customer", body = CustomerView),
        (status = 422, description = "The Idempotency-Key was used for another request", body = Value,
            content_type = "application/problem+json"),
    ))]
async fn create(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Once { key, body: sent }: Once<Changes>,
) -> Result<Created<CustomerView>, Problem> {
    let mut session = api.context.db.begin().await?;
    if let Some(made) = key.made::<String>(&mut session, &may.caller, api.context.clock.now()).await? {
        let customer = customers::find(&mut session, &made).await?.ok_or(Problem::NotFound)?;
        return Ok(Created::Before(CustomerView::new(customer, Vec::new())));
    }
    let mut written = whole(sent, CustomerDraft::default());
    if customers::find(&mut session, &written.record.customer_id).await?.is_some() {
        written.check(vec![("customer_id", ID_TAKEN.to_owned())]);
    }
    let draft = written.checked(|draft| draft.checked(&api.context.config.default_country)).finish()?;
    let created = customers::insert(&mut session, &draft, &may.actor(), api.context.clock.now()).await;
    let created = created.map_err(id_taken)?;
    key.keep(&mut session, &may.caller, &created.customer_id).await?;
    session.commit().await?;
    Ok(Created::Now(CustomerView::new(created, Vec::new())))
}

/// One customer, by your own identifier.
#[utoipa::path(get, path = "/{customer_id}", tag = "customers",
    params(("customer_id" = String, Path, description = "Your own identifier of the customer")),
    responses((status = 200, description = "The customer", body = CustomerView)))]
async fn show(
    May { caller, .. }: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(customer_id): Segment<String>,
) -> Result<axum::Json<CustomerView>, Problem> {
    let mut session = api.context.db.read().await?;
    let customer = customers::find(&mut session, &customer_id).await?.ok_or(Problem::NotFound)?;
    let preferences = customers::preferences(&mut session, &[customer_id]).await?;
    Ok(axum::Json(CustomerView::new(customer, preferences).for_eyes_of(&caller)))
}

/// Writes a customer as a whole. What is required must be sent; the rest stays as it is where it is not, and so do preferences.
#[utoipa::path(put, path = "/{customer_id}", tag = "customers", request_body = CustomerDraft,
    params(("customer_id" = String, Path, description = "Your own identifier of the customer")),
    responses((status = 200, description = "The customer", body = CustomerView)))]
async fn replace(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(customer_id): Segment<String>,
    Json(changes): Json<Changes>,
) -> Result<axum::Json<CustomerView>, Problem> {
    write(&api, &may, &customer_id, |customer| whole(changes, CustomerDraft::from(customer))).await
}

/// Changes the fields that are sent.
#[utoipa::path(patch, path = "/{customer_id}", tag = "customers", request_body = CustomerDraft,
    params(("customer_id" = String, Path, description = "Your own identifier of the customer")),
    responses((status = 200, description = "The customer", body = CustomerView)))]
async fn change(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(customer_id): Segment<String>,
    Json(changes): Json<Changes>,
) -> Result<axum::Json<CustomerView>, Problem> {
    write(&api, &may, &customer_id, |customer| changes.over(CustomerDraft::from(customer))).await
}

/// Deletes a customer with their preferences, devices, vehicles and reminders. What was sent stays in the log, unless
/// `erase=true` asks to forget the person: then addresses and words go too, and open deliveries are cancelled.
///
/// Erasing also empties what names the person in webhooks to and from partners, in appointments and presences: by
/// `customer_id`, e-mail address, and phone number in any spelling. These are searched by a task, which the answer names.
///
/// Erasing answers what it found, and also finds what an earlier deletion left. Jobs that run at that moment may write once
/// more: repeat it until it answers 404.
#[utoipa::path(delete, path = "/{customer_id}", tag = "customers",
    params(("customer_id" = String, Path, description = "Your own identifier of the customer"), DeleteQuery),
    responses((status = 204, description = "They are gone; the log stays"),
              (status = 200, description = "They are forgotten", body = ErasedView)))]
async fn delete(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(customer_id): Segment<String>,
    Query(DeleteQuery { erase }): Query<DeleteQuery>,
) -> Result<Response, Problem> {
    if erase.unwrap_or_default() {
        let erased = erasure::erase(&api.context, &customer_id, &may.actor()).await?.ok_or(Problem::NotFound)?;
        return Ok(axum::Json(ErasedView::from(erased)).into_response());
    }
    let mut session = api.context.db.begin().await?;
    let deleted = customers::delete(&mut session, &customer_id, &may.actor(), api.context.clock.now()).await?;
    if deleted.customers == 0 {
        return Err(Problem::NotFound);
    }
    session.commit().await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What a customer decided about channels, in the order in which they are tried. Channels that are missing come after
/// these.
#[utoipa::path(get, path = "/{customer_id}/preferences", tag = "customers",
    params(("customer_id" = String, Path, description = "Your own identifier of the customer")),
    responses((status = 200, description = "The preferences", body = Vec<PreferenceView>)))]
async fn show_preferences(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(customer_id): Segment<String>,
) -> Result<axum::Json<Vec<PreferenceView>>, Problem> {
    let mut session = api.context.db.read().await?;
    customers::find(&mut session, &customer_id).await?.ok_or(Problem::NotFound)?;
    let preferences = customers::preferences(&mut session, &[customer_id]).await?;
    Ok(axum::Json(preferences.into_iter().map(PreferenceView::from).collect()))
}

/// Writes what a customer decided about the channels that are named; the others stay as they are.
#[utoipa::path(post, path = "/{customer_id}/update_preferences", tag = "customers", request_body = PreferencesWrite,
    params(("customer_id" = String, Path, description = "Your own identifier of the customer")),
    responses((status = 200, description = "All preferences", body = Vec<PreferenceView>)))]
async fn update_preferences(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segment(customer_id): Segment<String>,
    Json(preferences): Json<PreferencesWrite>,
) -> Result<axum::Json<Vec<PreferenceView>>, Problem> {
    let mut session = api.context.db.begin().await?;
    customers::lock(&mut session, &customer_id).await?.ok_or(Problem::NotFound)?;
    let (choices, now) = (preferences.choices(), api.context.clock.now());
    customers::set_preferences(&mut session, &customer_id, &choices, &may.actor(), now).await?;
    let preferences = customers::preferences(&mut session, &[customer_id]).await?;
    session.commit().await?;
    Ok(axum::Json(preferences.into_iter().map(PreferenceView::from).collect()))
}

/// A customer's devices: browsers that take pushes. At most 20.
#[utoipa::path(get, path = "/{customer_id}/devices", tag = "customers",
    params(("customer_id" = String, Path, description = "Your own identifier of the customer")),
    responses((status = 200, description = "The devices", body = Vec<DeviceView>)))]
async fn list_devices(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(customer_id): Segment<String>,
) -> Result<axum::Json<Vec<DeviceView>>, Problem> {
    let mut session = api.context.db.read().await?;
    customers::find(&mut session, &customer_id).await?.ok_or(Problem::NotFound)?;
    let found = push::devices(&mut session, &customer_id).await?;
    Ok(axum::Json(found.into_iter().map(DeviceView::from).collect()))
}

/// Removes a device of a customer. Its browser subscribes again when its page asks for it.
#[utoipa::path(delete, path = "/{customer_id}/devices/{id}", tag = "customers",
    params(("customer_id" = String, Path, description = "Your own identifier of the customer"),
           ("id" = Id, Path, description = "Id of the device")),
    responses((status = 204, description = "It gets no push any more")))]
async fn remove_device(
    may: May<Admin>,
    State(api): State<Arc<Api>>,
    Segments(customer_id, id): Segments<String, Id>,
) -> Result<StatusCode, Problem> {
    let mut session = api.context.db.begin().await?;
    let now = api.context.clock.now();
    let existed = push::remove_device(&mut session, &customer_id, id, &may.actor(), now).await?;
    session.commit().await?;
    if existed { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::NotFound) }
}

/// A customer's vehicles, by plate; at most 1,000. The list of vehicles has pages.
#[utoipa::path(get, path = "/{customer_id}/vehicles", tag = "customers",
    params(("customer_id" = String, Path, description = "Your own identifier of the customer")),
    responses((status = 200, description = "The vehicles", body = Vec<VehicleView>)))]
async fn list_vehicles(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(customer_id): Segment<String>,
) -> Result<axum::Json<Vec<VehicleView>>, Problem> {
    let mut session = api.context.db.read().await?;
    customers::find(&mut session, &customer_id).await?.ok_or(Problem::NotFound)?;
    let filter = vehicles::VehicleFilter { customer_id: Some(customer_id), ..vehicles::VehicleFilter::default() };
    let (found, _) = vehicles::list(&mut session, &filter, MAX_ENTRIES, 0).await?;
    Ok(axum::Json(found.into_iter().map(VehicleView::from).collect()))
}

/// The reminders of a customer's vehicles, the newest first; at most 1,000. The list of reminders has pages.
#[utoipa::path(get, path = "/{customer_id}/reminders", tag = "customers",
    params(("customer_id" = String, Path, description = "Your own identifier of the customer"), CustomerRemindersQuery),
    responses((status = 200, description = "The reminders", body = Vec<ReminderView>)))]
async fn list_reminders(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Segment(customer_id): Segment<String>,
    Query(CustomerRemindersQuery { status, open }): Query<CustomerRemindersQuery>,
) -> Result<axum::Json<Vec<ReminderView>>, Problem> {
    let mut session = api.context.db.read().await?;
    customers::find(&mut session, &customer_id).await?.ok_or(Problem::NotFound)?;
    let filter = reminders::ReminderFilter { status, open, customer_id: Some(customer_id), vehicle_id: None };
    let (found, _) = reminders::list(&mut session, &filter, MAX_ENTRIES, 0).await?;
    Ok(axum::Json(found.into_iter().map(ReminderView::from).collect()))
}

async fn write(
    api: &Api,
    may: &May<Admin>,
    customer_id: &str,
    draft: impl FnOnce(Customer) -> Written<CustomerDraft>,
) -> Result<axum::Json<CustomerView>, Problem> {
    let mut session = api.context.db.begin().await?;
    let customer = customers::lock(&mut session, customer_id).await?.ok_or(Problem::NotFound)?;
    let mut written = draft(customer.clone());
    if written.record.customer_id != customer_id {
        let error = "No se puede cambiar: así conocen al cliente sus notificaciones. Cree otro cliente.";
        written.check(vec![("customer_id", error.to_owned())]);
    }
    let draft = written.checked(|draft| draft.checked(&api.context.config.default_country)).finish()?;
    let written = customers::replace(&mut session, &customer, &draft, &may.actor(), api.context.clock.now()).await?;
    let preferences = customers::preferences(&mut session, &[draft.customer_id]).await?;
    session.commit().await?;
    Ok(axum::Json(CustomerView::new(written, preferences)))
}

/// A customer as a whole; the first name may be sent in `name`.
fn whole(sent: Changes, draft: CustomerDraft) -> Written<CustomerDraft> {
    let has_first_name = sent.has("first_name");
    let mut written = sent.whole(draft);
    let is_named = has_first_name || written.record.name.is_some();
    if !is_named || (written.record.first_name.is_empty() && written.record.name.is_none()) {
        written.check(vec![("first_name", "Este campo es requerido.".to_owned())]);
    }
    written
}

/// The preferences of a whole page are loaded together.
async fn with_preferences(session: &mut Session, customers: Vec<Customer>) -> db::Result<Vec<CustomerView>> {
    let ids: Vec<String> = customers.iter().map(|customer| customer.customer_id.clone()).collect();
    let mut preferences: HashMap<String, Vec<Preference>> = HashMap::with_capacity(ids.len());
    for preference in customers::preferences(session, &ids).await? {
        preferences.entry(preference.customer_id.clone()).or_default().push(preference);
    }
    let view = |customer: Customer| {
        let preferences = preferences.remove(&customer.customer_id).unwrap_or_default();
        CustomerView::new(customer, preferences)
    };
    Ok(customers.into_iter().map(view).collect())
}

const ID_TAKEN: &str = "Ya existe un cliente con este customer_id.";

fn id_taken(error: db::Error) -> Problem {
    if error.violates("customers_customer_id_key", "customers.customer_id") {
        return FieldErrors::one("customer_id", ID_TAKEN).into();
    }
    error.into()
}

/// A customer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Customer)]
struct CustomerView {
    /// Id of the row; URLs name the `customer_id`.
    id: Id,
    /// Your own identifier.
    #[schema(examples("customer-001"))]
    customer_id: String,
    /// First name; may be empty.
    first_name: String,
    /// Last name; may be empty.
    last_name: String,
    /// First and last name, as far as they are known.
    #[schema(examples("Carlos Mendoza"))]
    full_name: String,
    /// Mail address; masked unless the key has the scope `contacts` or `admin`, as are the numbers.
    email: Option<String>,
    /// Telephone number, E.164.
    #[schema(examples("+593991234567"))]
    phone: Option<String>,
    /// Number for WhatsApp, E.164; where it is null, `phone` is used.
    whatsapp: Option<String>,
    /// Which of the two numbers no numbering plan knows. They are used all the same.
    #[schema(example = json!([]))]
    unusual: Vec<&'static str>,
    /// What they decided about channels, in the order in which these are tried.
    channel_preferences: Vec<PreferenceView>,
    /// Local time from which they do not want to be disturbed, `HH:MM`.
    quiet_from: Option<TimeOfDay>,
    /// Local time at which messages may come again, `HH:MM`.
    quiet_until: Option<TimeOfDay>,
    /// IANA name of their time zone; null for the workshop's.
    #[schema(examples("America/Guayaquil"))]
    time_zone: Option<String>,
    /// When they were first written.
    created_at: Timestamp,
    /// When they were last written.
    updated_at: Timestamp,
}

impl CustomerView {
    /// With addresses masked, unless the caller may see them.
    fn for_eyes_of(mut self, caller: &Caller) -> Self {
        if !caller.sees_contacts() {
            self.email = self.email.as_deref().map(mask_email);
            self.phone = self.phone.as_deref().map(mask_phone);
            self.whatsapp = self.whatsapp.as_deref().map(mask_phone);
        }
        self
    }

    fn new(customer: Customer, preferences: Vec<Preference>) -> Self {
        Self {
            full_name: customer.full_name(),
            unusual: customer.unusual(),
            id: customer.id,
            customer_id: customer.customer_id,
            first_name: customer.first_name,
            last_name: customer.last_name,
            email: customer.email,
            phone: customer.phone,
            whatsapp: customer.whatsapp,
            channel_preferences: preferences.into_iter().map(PreferenceView::from).collect(),
            quiet_from: customer.quiet_from,
            quiet_until: customer.quiet_until,
            time_zone: customer.time_zone,
            created_at: customer.created_at,
            updated_at: customer.updated_at,
        }
    }
}

/// What a customer decided about a channel.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Preference)]
struct PreferenceView {
    /// Id of the preference.
    id: Id,
    /// The channel.
    channel: Channel,
    /// Its name for people.
    #[schema(examples("WhatsApp"))]
    channel_display: &'static str,
    /// False is an opt-out, which no fallback overrides.
    enabled: bool,
    /// 1 is tried first.
    #[schema(minimum = 1, examples(1))]
    priority: i32,
}

impl From<Preference> for PreferenceView {
    fn from(preference: Preference) -> Self {
        Self {
            id: preference.id,
            channel: preference.channel,
            channel_display: preference.channel.display_name(),
            enabled: preference.enabled,
            priority: preference.priority,
        }
    }
}

/// What was erased.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ErasedCustomer)]
struct ErasedView {
    /// How many of each kind.
    erased: Erased,
    /// Of what they wrote to us on WhatsApp.
    conversations: conversations::Erased,
    /// The task that looks for the person in webhooks, appointments and presences.
    search_id: Id,
}

impl From<erasure::ErasedCustomer> for ErasedView {
    fn from(erased: erasure::ErasedCustomer) -> Self {
        let erasure::ErasedCustomer { erased, conversations, search_id } = erased;
        Self { erased, conversations, search_id }
    }
}

/// A device of a customer, without what allows sending to it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Device)]
struct DeviceView {
    /// Id of the subscription.
    id: Id,
    /// Host of the push service that reaches it.
    #[schema(examples("fcm.googleapis.com"))]
    service: String,
    /// What its browser calls itself.
    user_agent: Option<String>,
    /// Since when no push has reached it; null when the last one did.
    failing_since: Option<Timestamp>,
    /// When it was subscribed.
    created_at: Timestamp,
    /// When its browser was last heard of.
    updated_at: Timestamp,
}

impl From<Device> for DeviceView {
    fn from(device: Device) -> Self {
        Self {
            service: device.service(),
            id: device.id,
            user_agent: device.user_agent,
            failing_since: device.failing_since,
            created_at: device.created_at,
            updated_at: device.updated_at,
        }
    }
}

impl Form for CustomerDraft {
    /// In a PUT it stands in the URL; a new customer without one is told so by the check.
    const REQUIRED: &'static [&'static str] = &[];

    fn fill(&mut self, fields: &mut Fields) {
        fields.set("customer_id", &mut self.customer_id);
        if !fields.has("first_name") && !fields.has("last_name") {
            self.name = fields.optional("name");
        }
        let is_blanked = fields.has("first_name");
        fields.set("first_name", &mut self.first_name);
        if is_blanked && self.first_name.trim().is_empty() {
            fields.check(vec![("first_name", "Este campo no puede estar en blanco.".to_owned())]);
        }
        fields.set("last_name", &mut self.last_name);
        fields.set_nullable("email", &mut self.email);
        fields.set_nullable("phone", &mut self.phone);
        fields.set_nullable("whatsapp", &mut self.whatsapp);
        fields.set_nullable("quiet_from", &mut self.quiet_from);
        fields.set_nullable("quiet_until", &mut self.quiet_until);
        fields.set_nullable("time_zone", &mut self.time_zone);
    }
}

request! {
    /// Whom to list.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct CustomerQuery {
        /// Part of a name, a mail address, a number or a `customer_id`, in either case.
        search: Option<String>,
    }
}

request! {
    /// How to delete.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct DeleteQuery {
        /// Also forget what was sent to them.
        #[param(default = false)]
        erase: Option<bool>,
    }
}

request! {
    /// Which reminders of the customer to list.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct CustomerRemindersQuery {
        /// Exactly this status.
        status: Option<reminders::Status>,
        /// True: pending, notified or overdue. False: completed or cancelled.
        open: Option<bool>,
    }
}

request! {
    /// What a customer decides about channels.
    #[derive(ToSchema)]
    struct PreferencesWrite {
        /// The channels that are decided about, each once.
        #[schema(min_items = 1)]
        channels: Vec<PreferenceWrite>,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        let errors = customers::choice_errors(&self.choices());
        errors.into_iter().map(|(field, error)| (field, error.into())).collect()
    }
}

request! {
    /// What a customer decides about a channel.
    #[derive(ToSchema)]
    struct PreferenceWrite {
        /// The channel.
        channel: Channel,
        /// False is an opt-out, which no fallback overrides.
        #[schema(required = false, default = true)]
        enabled: bool = true,
        /// 1 is tried first; left out, the place in the list counts.
        #[schema(minimum = 1)]
        priority: Option<i32>,
    }
}

impl Member for Vec<PreferenceWrite> {
    fn take(fields: &mut Fields, name: &'static str) -> Option<Self> {
        fields.elements(name, PreferenceWrite::read)
    }
}

impl PreferencesWrite {
    fn choices(&self) -> Vec<Choice> {
        let choice = |(place, write): (usize, &PreferenceWrite)| Choice {
            channel: write.channel,
            enabled: write.enabled,
            priority: write.priority.unwrap_or_else(|| i32::try_from(place + 1).unwrap_or(i32::MAX)),
        };
        self.channels.iter().enumerate().map(choice).collect()
    }
}
