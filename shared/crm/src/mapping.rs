//! How an appointment becomes a presence: fields and media, as data that staff can change (S004-7 to S004-10).

use std::collections::BTreeMap;

use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::fields::Wrong;
use recado_kernel::language::Sentence;
use recado_kernel::sql;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sqlx::types::Json;
use utoipa::ToSchema;

use crate::appointments::{Appointment, Lead, Status};
use crate::moments;

/// The rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = CrmMapping)]
pub struct Mapping {
    /// Field of the presence (a dot descends into `cliente`) → its text, in which `{lead.nombre}` stands for a value.
    pub fields: BTreeMap<String, String>,
    /// Medium of the CRM → medium of the application. Letter case does not matter.
    pub media: BTreeMap<String, String>,
    /// The medium of all others.
    pub other_medium: String,
    /// A place that contains one of these words is `virtual`, every other `presencial`. Letter case does not matter.
    pub virtual_places: Vec<String>,
}

/// The fields that a presence has, in the order in which they are sent.
pub const FIELDS: [&str; 15] = [
    "id_presencia_crm",
    "cliente.nombres_completos_razon_social",
    "cliente.tipo_documento",
    "cliente.numero_documento",
    "cliente.telefono_principal",
    "cliente.email_principal",
    "cliente.direccion",
    "cliente.distrito",
    "fecha_hora_presencia",
    "proyecto_interes",
    "medio_captacion",
    "modalidad",
    "status_presencia",
    "resultado_interaccion",
    "observaciones",
];

/// What may stand in braces.
pub const VALUES: [&str; 11] = [
    "id",
    "lead.id",
    "lead.nombre",
    "lead.celular",
    "lead.distrito",
    "lead.proyecto_interes",
    "lead.email",
    "appointment.fecha_hora",
    "appointment.lugar",
    "medio",
    "modalidad",
];

/// The one field that is null and not empty when there is nothing to say.
const NULLABLE: &str = "cliente.email_principal";

impl Default for Mapping {
    /// The tables of the document, and the names of the public CRM.
    fn default() -> Self {
        let pairs = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|&(one, other)| (one.to_owned(), other.to_owned())).collect::<BTreeMap<_, _>>()
        };
        Self {
            fields: pairs(&[
                ("id_presencia_crm", "CRM-{id}"),
                ("cliente.nombres_completos_razon_social", "{lead.nombre}"),
                ("cliente.tipo_documento", "DNI"),
                ("cliente.numero_documento", "{lead.celular}"),
                ("cliente.telefono_principal", "{lead.celular}"),
                ("cliente.email_principal", "{lead.email}"),
                ("cliente.direccion", "{lead.distrito}"),
                ("cliente.distrito", "{lead.distrito}"),
                ("fecha_hora_presencia", "{appointment.fecha_hora}"),
                ("proyecto_interes", "{lead.proyecto_interes}"),
                ("medio_captacion", "{medio}"),
                ("modalidad", "{modalidad}"),
                ("status_presencia", "realizada"),
                ("resultado_interaccion", "interesado_seguimiento"),
                ("observaciones", "Presencia desde CRM. Lugar: {appointment.lugar}."),
            ]),
            media: pairs(&[
                ("OPC", "campo_opc"),
                ("Campo (Centros Comerciales)", "campo_opc"),
                ("Facebook", "redes_facebook"),
                ("Redes Sociales (Facebook)", "redes_facebook"),
                ("Redes Sociales (WhatsApp)", "redes_facebook"),
                ("Instagram", "redes_instagram"),
                ("Redes Sociales (Instagram)", "redes_instagram"),
                ("TikTok", "redes_tiktok"),
                ("Referido", "referido"),
                ("Referidos", "referido"),
                ("Web", "web"),
                ("Otros", "otro"),
            ]),
            other_medium: "otro".to_owned(),
            virtual_places: vec!["zoom".to_owned(), "virtual".to_owned()],
        }
    }
}

impl Mapping {
    /// What is wrong with it; every error names its field.
    pub fn errors(&self) -> Wrong {
        let mut errors = Wrong::new();
        let mut wrong = |spanish: String, english: String| errors.push(("fields", Sentence::new(spanish, english)));
        for field in self.fields.keys().filter(|field| !FIELDS.contains(&field.as_str())) {
            let known = FIELDS.join(", ");
            wrong(
                format!("\"{field}\" no es un campo de la presencia. Use: {known}."),
                format!("\"{field}\" is not a field of the presence. Use: {known}."),
            );
        }
        for required in [
            "id_presencia_crm",
            "cliente.nombres_completos_razon_social",
            "cliente.numero_documento",
            "fecha_hora_presencia",
        ] {
            if self.fields.get(required).is_none_or(|text| text.trim().is_empty()) {
                wrong(
                    format!("Falta \"{required}\", que la aplicación comercial exige."),
                    format!("\"{required}\" is missing, and the commercial application requires it."),
                );
            }
        }
        // Otherwise two appointments would be one presence.
        if self.fields.get("id_presencia_crm").is_some_and(|text| !text.contains("{id}")) {
            wrong(
                "\"id_presencia_crm\" debe contener {id}.".to_owned(),
                "\"id_presencia_crm\" must contain {id}.".to_owned(),
            );
        }
        for text in self.fields.values() {
            for value in placeholders(text).filter(|value| !VALUES.contains(value)) {
                let known = VALUES.join(", ");
                wrong(
                    format!("{{{value}}} no existe. Use: {known}."),
                    format!("{{{value}}} does not exist. Use: {known}."),
                );
            }
        }
        let longest = self.fields.values().chain(self.media.keys()).chain(self.media.values()).map(String::len).max();
        if longest.unwrap_or(0) > 500 || self.media.len() > 500 || self.virtual_places.len() > 100 {
            wrong(
                "Los textos pueden tener 500 caracteres, y las listas 500 entradas.".to_owned(),
                "Texts may have 500 characters, and lists 500 entries.".to_owned(),
            );
        }
        errors
    }

    /// The presence that this appointment becomes.
    pub fn presence(&self, appointment: &Appointment, zone: chrono_tz::Tz) -> Value {
        let value = |name: &str| self.value(name, appointment, zone);
        let mut presence = Map::new();
        for field in FIELDS {
            let Some(text) = self.fields.get(field) else { continue };
            let text = fill(text, value);
            let value = if text.is_empty() && field == NULLABLE { Value::Null } else { Value::String(text) };
            match field.split_once('.') {
                None => drop(presence.insert(field.to_owned(), value)),
                Some((outer, inner)) => {
                    let object = presence.entry(outer).or_insert_with(|| Value::Object(Map::new()));
                    if let Value::Object(object) = object {
                        object.insert(inner.to_owned(), value);
                    }
                }
            }
        }
        Value::Object(presence)
    }

    /// The id of the presence that this appointment is or may become.
    pub fn presence_id(&self, appointment: &Appointment, zone: chrono_tz::Tz) -> String {
        let text = self.fields.get("id_presencia_crm").map_or("{id}", String::as_str);
        fill(text, |name| self.value(name, appointment, zone))
    }

    fn value(&self, name: &str, appointment: &Appointment, zone: chrono_tz::Tz) -> String {
        let lead = &appointment.lead;
        let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
        match name {
            "id" => appointment.id.clone(),
            "lead.id" => or_empty(&appointment.lead_id),
            "lead.nombre" => lead.nombre.clone(),
            "lead.celular" => lead.celular.clone(),
            "lead.distrito" => or_empty(&lead.distrito),
            "lead.proyecto_interes" => or_empty(&lead.proyecto_interes),
            "lead.email" => or_empty(&lead.email),
            "appointment.fecha_hora" => moments::naive(appointment.starts_at, zone),
            "appointment.lugar" => or_empty(&appointment.place),
            "medio" => self.medium(lead.medio.as_deref().unwrap_or_default()).to_owned(),
            "modalidad" => self.modality(appointment.place.as_deref().unwrap_or_default()).to_owned(),
            _ => String::new(),
        }
    }

    /// S004-8: a medium that is not known is the other one.
    fn medium(&self, medium: &str) -> &str {
        let medium = medium.trim().to_lowercase();
        let known = self.media.iter().find(|(name, _)| name.trim().to_lowercase() == medium);
        known.map_or(&self.other_medium, |(_, mapped)| mapped)
    }

    /// S004-9
    fn modality(&self, place: &str) -> &'static str {
        let place = place.to_lowercase();
        let is_virtual = self.virtual_places.iter().any(|word| place.contains(&word.to_lowercase()));
        if is_virtual { "virtual" } else { "presencial" }
    }
}

/// The appointment of the document, to show what a mapping makes of one.
pub fn example(zone: chrono_tz::Tz) -> Appointment {
    Appointment {
        id: "123".to_owned(),
        lead_id: Some("7".to_owned()),
        status: Status::Realizada,
        lead: Lead {
            nombre: "Juan Pérez".to_owned(),
            celular: "999888777".to_owned(),
            distrito: Some("Lima".to_owned()),
            proyecto_interes: Some("OASIS 2 (AUCALLAMA)".to_owned()),
            medio: Some("OPC".to_owned()),
            email: Some("juan@email.com".to_owned()),
        },
        starts_at: moments::read("2024-01-15T14:30:00", zone).unwrap_or_default(),
        place: Some("Sala de ventas".to_owned()),
    }
}

/// The text with a value for everything that stands in braces.
fn fill(text: &str, value: impl Fn(&str) -> String) -> String {
    let (mut filled, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, behind)) = after.split_once('}') else { break };
        filled.push_str(before);
        filled.push_str(&value(name));
        rest = behind;
    }
    filled.push_str(rest);
    filled
}

fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|part| part.split_once('}').map(|(name, _)| name))
}

/// The mapping in force.
pub async fn current(session: &mut Session) -> Result<Mapping> {
    let row: Option<(Json<Mapping>,)> =
        sql!(one(Json<Mapping>), session, "select mapping from crm_mapping where id = 1")?;
    Ok(row.map(|(Json(mapping),)| mapping).unwrap_or_default())
}

/// Puts a mapping in force.
pub async fn replace(session: &mut Session, mapping: &Mapping, actor: &Actor, now: Timestamp) -> Result<()> {
    let before = current(session).await?;
    sql!(
        run,
        session,
        "insert into crm_mapping (id, mapping, updated_at) values (1, $1, $2)
         on conflict (id) do update set mapping = excluded.mapping, updated_at = excluded.updated_at",
        Json(mapping),
        now
    )?;
    let act = Act::new("change", "crm_mapping", "mapping").changed(json!(before), json!(mapping));
    audit::write(session, actor, &act, now).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn appointment(medio: &str, place: &str) -> Appointment {
        Appointment {
            id: "123".to_owned(),
            lead_id: Some("7".to_owned()),
            status: Status::Realizada,
            lead: Lead {
                nombre: "Juan Pérez".to_owned(),
                celular: "999888777".to_owned(),
                distrito: Some("Lima".to_owned()),
                proyecto_interes: Some("OASIS 2 (AUCALLAMA)".to_owned()),
                medio: Some(medio.to_owned()),
                email: None,
            },
            starts_at: moments::read("2024-01-15T14:30:00", chrono_tz::America::Lima).expect("a time"),
            place: Some(place.to_owned()),
        }
    }

    /// S004-5, S004-7, S004-10: the seed's own payload.
    #[test]
    fn an_appointment_becomes_the_presence_of_the_document() {
        let presence = Mapping::default().presence(&appointment("OPC", "Sala de ventas"), chrono_tz::America::Lima);
        let expected = json!({
            "id_presencia_crm": "CRM-123",
            "cliente": {
                "nombres_completos_razon_social": "Juan Pérez",
                "tipo_documento": "DNI",
                "numero_documento": "999888777",
                "telefono_principal": "999888777",
                "email_principal": null,
                "direccion": "Lima",
                "distrito": "Lima",
            },
            "fecha_hora_presencia": "2024-01-15T14:30:00",
            "proyecto_interes": "OASIS 2 (AUCALLAMA)",
            "medio_captacion": "campo_opc",
            "modalidad": "presencial",
            "status_presencia": "realizada",
            "resultado_interaccion": "interesado_seguimiento",
            "observaciones": "Presencia desde CRM. Lugar: Sala de ventas.",
        });
        assert_eq!(presence, expected);
    }

    /// S004-8, S004-9
    #[test]
    fn media_and_places() {
        let mapping = Mapping::default();
        let media = [
            ("OPC", "campo_opc"),
            ("Facebook", "redes_facebook"),
            ("Instagram", "redes_instagram"),
            ("TikTok", "redes_tiktok"),
            ("Referido", "referido"),
            ("Web", "web"),
            ("Otros", "otro"),
            ("Campo (Centros Comerciales)", "campo_opc"),
            ("Redes Sociales (Facebook)", "redes_facebook"),
            ("Redes Sociales (Instagram)", "redes_instagram"),
            ("Redes Sociales (WhatsApp)", "redes_facebook"),
            ("Referidos", "referido"),
            (" facebook ", "redes_facebook"),
            ("Radio", "otro"),
            ("", "otro"),
        ];
        for (medium, mapped) in media {
            assert_eq!(mapping.medium(medium), mapped, "{medium}");
        }
        let places =
            [("ZOOM", "virtual"), ("Reunión Virtual", "virtual"), ("Sala de ventas", "presencial"), ("", "presencial")];
        for (place, modality) in places {
            assert_eq!(mapping.modality(place), modality, "{place}");
        }
    }

    #[test]
    fn a_mapping_that_cannot_work_is_refused() {
        assert!(Mapping::default().errors().is_empty());
        let changed = |field: &str, text: &str| {
            let mut mapping = Mapping::default();
            mapping.fields.insert(field.to_owned(), text.to_owned());
            mapping.errors().into_iter().map(|(_, error)| String::from(error)).collect::<String>()
        };
        assert!(changed("cliente.edad", "x").contains("cliente.edad"));
        assert!(changed("observaciones", "{lead.edad}").contains("{lead.edad}"));
        assert!(changed("id_presencia_crm", "CRM").contains("{id}"));
        assert!(changed("cliente.numero_documento", " ").contains("numero_documento"));
        assert!(changed("observaciones", "una {llave sin cerrar").is_empty());
        assert_eq!(fill("a{id", |_| unreachable!("it is not closed")), "a{id");
    }
}
