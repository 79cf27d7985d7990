//! What a matrix says now, and what a form stages over it: pure but for the words.

use recado_kernel::ids::Id;
use recado_notifications::catalogue::{Catalogue, Phase, ServiceType};
use recado_notifications::channels::Channel;
use recado_notifications::orchestration::{AwaitedReceipt, Cell, DeliveryMode, Matrix, Orchestration};
use recado_notifications::targets::Target;

use crate::failure::Failure;
use crate::form::Form;
use crate::page::Page;
use crate::pages::texts::{place_path, place_query};

/// How long a cell waits for its receipt is said in the largest of these that it is a whole number of.
pub(super) const UNITS: [(&str, i32); 3] = [("h", 3_600), ("min", 60), ("s", 1)];

/// Whose matrix it is.
#[derive(Clone)]
pub(super) struct Place<'c> {
    pub(super) service: &'c ServiceType,
    pub(super) target: Target,
    pub(super) taller_id: Option<String>,
}

impl<'c> Place<'c> {
    pub(super) fn read(
        catalogue: &'c Catalogue,
        service: &str,
        target: &str,
        taller_id: Option<String>,
    ) -> Result<Self, Failure> {
        let id = catalogue.known_service(service).map_err(|_| Failure::NotFound)?;
        let service = catalogue.service(id).ok_or(Failure::NotFound)?;
        Ok(Self { service, target: target.parse().unwrap_or_default(), taller_id })
    }

    pub(super) fn of_form(catalogue: &'c Catalogue, service: &str, form: &Form) -> Result<Self, Failure> {
        Self::read(catalogue, service, form.value("target"), form.optional("taller_id"))
    }

    pub(super) fn own<'k>(&self, catalogue: &'k Catalogue) -> Option<&'k Orchestration> {
        catalogue.own_configuration(self.service.id, self.target, self.taller_id.as_deref())
    }

    pub(super) fn inherited<'k>(&self, catalogue: &'k Catalogue) -> Option<&'k Orchestration> {
        catalogue.inherited(self.service, self.target, self.taller_id.as_deref())
    }

    pub(super) fn query(&self) -> String {
        place_query(self.target, self.taller_id.as_deref())
    }

    pub(super) fn path(&self, catalogue: &Catalogue) -> String {
        place_path(catalogue, self.service, self.target, self.taller_id.as_deref())
    }

    /// In how many cells its own matrix differs from the one that it would inherit.
    pub(super) fn differences(&self, catalogue: &Catalogue) -> usize {
        let (own, inherited) = (self.own(catalogue), self.inherited(catalogue));
        let Some(own) = own else { return 0 };
        let cell = |config: Option<&Orchestration>, phase: Id, channel| {
            Settings::of(config.and_then(|config| catalogue.cell(config.id, phase, channel)))
        };
        let differs = |phase: &Phase| {
            let differs =
                |channel: &Channel| cell(Some(own), phase.id, *channel) != cell(inherited, phase.id, *channel);
            Channel::ALL.iter().filter(|channel| differs(channel)).count()
        };
        catalogue.phases.iter().map(differs).sum()
    }
}

/// What a cell says; one that is not there is switched off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) enabled: bool,
    pub(super) template_id: Option<Id>,
    pub(super) awaits: Option<(AwaitedReceipt, i32)>,
}

impl Settings {
    pub(super) fn of(cell: Option<&Cell>) -> Self {
        cell.map_or_else(Self::default, |cell| Self {
            enabled: cell.enabled,
            template_id: cell.template_id,
            awaits: cell.await_receipt.zip(cell.await_seconds),
        })
    }

    /// As a sentence: `on · best match · without «read» in 10 min, the next`.
    pub(super) fn told(&self, page: &Page, catalogue: &Catalogue) -> String {
        let state = if self.enabled { page.t("matrix-on") } else { page.t("matrix-off") };
        let template = self.template_id.and_then(|id| catalogue.template(id));
        let template = template.map_or_else(|| page.t("matrix-best"), |template| template.name.clone());
        let waits = self.awaits.map(|(receipt, seconds)| {
            let time = page.took(&(f64::from(seconds) * 1_000.0));
            page.t2("matrix-waits", "receipt", page.word("matrix-receipt", receipt), "time", time)
        });
        [Some(state), Some(template), waits].into_iter().flatten().collect::<Vec<_>>().join(" · ")
    }
}

/// A matrix as it is now: its own, or the one that it inherits.
pub(super) struct Now {
    pub(super) own: Option<Matrix>,
    pub(super) inherited: Option<Matrix>,
}

impl Now {
    pub(super) fn of(place: &Place<'_>, catalogue: &Catalogue) -> Self {
        let matrix = |config: &Orchestration| Matrix {
            config: config.clone(),
            cells: catalogue.matrix(config.id).cloned().collect(),
        };
        Self { own: place.own(catalogue).map(matrix), inherited: place.inherited(catalogue).map(matrix) }
    }

    pub(super) fn shown(&self) -> Option<&Matrix> {
        self.own.as_ref().or(self.inherited.as_ref())
    }

    pub(super) fn cell(&self, phase: Id, channel: Channel) -> Settings {
        Settings::of(self.shown().and_then(|matrix| matrix.cell(phase, channel)))
    }

    /// When what is shown was last written, for two who change it at once.
    pub(super) fn read_at(&self) -> i64 {
        self.shown().map_or(0, |matrix| matrix.config.updated_at.as_micros())
    }
}

pub(super) fn name_of(phase: &Phase, channel: Channel, what: &str) -> String {
    format!("{}.{channel}.{what}", phase.slug)
}

/// A matrix as the fields of its form.
pub(super) fn form_of(place: &Place<'_>, now: &Now, catalogue: &Catalogue) -> Form {
    let ticked = |is: bool| if is { "on".to_owned() } else { String::new() };
    let config = now.shown().map(|matrix| &matrix.config);
    let mut fields = vec![
        ("target".to_owned(), place.target.to_string()),
        ("taller_id".to_owned(), place.taller_id.clone().unwrap_or_default()),
        ("mode".to_owned(), config.map(|config| config.delivery_mode).unwrap_or_default().to_string()),
        ("is_active".to_owned(), ticked(config.is_none_or(|config| config.is_active))),
    ];
    for phase in &catalogue.phases {
        for channel in Channel::ALL {
            let cell = now.cell(phase.id, channel);
            let (wait, unit) = in_units(cell.awaits.map(|(_, seconds)| seconds));
            let mut field = |what: &str, value: String| fields.push((name_of(phase, channel, what), value));
            field("on", ticked(cell.enabled));
            field("template", cell.template_id.map(|id| id.to_string()).unwrap_or_default());
            if channel.has_receipts() {
                field("receipt", cell.awaits.map(|(receipt, _)| receipt.to_string()).unwrap_or_default());
                field("wait", wait);
                field("unit", unit.to_owned());
            }
        }
    }
    Form::of(fields.iter().map(|(name, value)| (name.as_str(), value.clone())))
}

/// Seconds in the largest unit that they are whole in.
pub(super) fn in_units(seconds: Option<i32>) -> (String, &'static str) {
    let Some(seconds) = seconds else { return (String::new(), "min") };
    let (unit, size) = UNITS.into_iter().find(|(_, size)| seconds % size == 0).unwrap_or(("s", 1));
    ((seconds / size).to_string(), unit)
}

/// The cell that a form says, over what is there; what is wrong is added to the form.
pub(super) fn read_cell(
    form: &mut Form,
    page: &Page,
    cell: &Cell,
    phase: &Phase,
    (catalogue, target): (&Catalogue, Target),
) -> Cell {
    let channel = cell.channel;
    let name = |what: &str| name_of(phase, channel, what);
    let mut read = Cell { enabled: form.is_ticked(&name("on")), ..cell.clone() };
    read.template_id = form.parsed(&name("template"), || page.t("template-wrong-choice"));
    if channel.has_receipts() {
        read.await_receipt = form.parsed(&name("receipt"), || page.t("template-wrong-choice"));
        let wait: Option<i32> = form.parsed(&name("wait"), || page.t("matrix-wrong-wait"));
        let unit = UNITS.into_iter().find(|(unit, _)| *unit == form.value(&name("unit"))).map_or(60, |(_, size)| size);
        // Without a receipt to wait for there is no time to wait.
        read.await_seconds = wait.filter(|_| read.await_receipt.is_some()).map(|wait| wait.saturating_mul(unit));
    }
    for (_, problem) in read.errors() {
        form.add_error(&name("wait"), problem.told(page.speaks()));
    }
    if let Some(id) = read.template_id {
        match catalogue.template(id) {
            None => form.add_error(&name("template"), page.t("matrix-template-gone")),
            Some(template) => {
                if let Some(problem) = read.refuses(template, target) {
                    form.add_error(&name("template"), problem.told(page.speaks()));
                }
            }
        }
    }
    read
}

/// What a form stages over what is there: the settings, and all cells.
pub(super) struct Staged {
    pub(super) mode: DeliveryMode,
    pub(super) is_active: bool,
    pub(super) cells: Vec<Cell>,
}

impl Staged {
    pub(super) fn read(form: &mut Form, page: &Page, place: &Place<'_>, now: &Now, catalogue: &Catalogue) -> Self {
        let id = now.own.as_ref().map_or_else(|| Id::new(page.visit.now), |own| own.config.id);
        let mut cells = Vec::new();
        for phase in &catalogue.phases {
            for channel in Channel::ALL {
                let new = || Cell::new(id, phase.id, channel, page.visit.now);
                let known = now.shown().and_then(|matrix| matrix.cell(phase.id, channel));
                // An inherited cell becomes a row of its own.
                let cell = match (known, &now.own) {
                    (Some(known), Some(_)) => known.clone(),
                    (Some(known), None) => Cell { id: new().id, config_id: id, ..known.clone() },
                    (None, _) => new(),
                };
                cells.push(read_cell(form, page, &cell, phase, (catalogue, place.target)));
            }
        }
        Self {
            mode: form.parsed("mode", || page.t("template-wrong-choice")).unwrap_or_default(),
            is_active: form.is_ticked("is_active"),
            cells,
        }
    }

    /// The cells that are not what they were.
    pub(super) fn changed(&self, now: &Now) -> Vec<&Cell> {
        let differs = |cell: &&Cell| Settings::of(Some(cell)) != now.cell(cell.phase_id, cell.channel);
        self.cells.iter().filter(differs).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_in_the_largest_unit_that_it_is_whole_in() {
        for (seconds, said) in
            [(None, ("", "min")), (Some(7_200), ("2", "h")), (Some(600), ("10", "min")), (Some(90), ("90", "s"))]
        {
            let (wait, unit) = in_units(seconds);
            assert_eq!((wait.as_str(), unit), said, "{seconds:?}");
        }
    }

    #[test]
    fn a_cell_that_is_not_there_is_switched_off() {
        let cell =
            Cell::new(Id::default(), Id::default(), Channel::Email, recado_kernel::clock::Timestamp::from_micros(0));
        assert_eq!(Settings::of(None), Settings::of(Some(&cell)));
        assert_ne!(Settings::of(None), Settings::of(Some(&Cell { enabled: true, ..cell })));
    }
}
