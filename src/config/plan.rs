//! Plants and times: the groups `[machines.*]`, `[locations.*]` and `[processing_times.*]`, fitted to the stages.
//!
//! The stages and the machines say what there is. Where another group lacks something for them, that is a problem; where it
//! has something more, only if the file itself names it: what is built in may be left unused.

use super::problem::Problems;
use super::reader::{Group, Item, Section, did_you_mean};
use super::rules::{self, integer, seconds};
use super::stages::Row;
use crate::factory::plan::{Site, Stage};
use std::collections::BTreeSet;

/// The most plants, so that an index is small.
const SITES_MAX: usize = 1000;

/// The most machines of all plants.
const MACHINES_MAX: u64 = 10_000_000;

/// The plants, in the order of `[machines.*]`.
pub(super) fn sites(root: &mut Section<'_, '_>, stages: &[Row<'_>]) -> Vec<Site> {
    let (Some(machines), Some(locations)) = (root.group("machines"), root.group("locations")) else { return Vec::new() };
    let zones = rows(&locations, root.problems, |section| section.read("timezone", &rules::zone()));
    for (location, _) in zones.iter().filter(|_| locations.is_own) {
        if machines.item.child(location.key).is_none() {
            location.problem(&format!("[machines.{}] is missing: expected its machines", location.key), root.problems);
        }
    }
    let plants = machines.item.children();
    if !(1..=SITES_MAX).contains(&plants.len()) {
        machines.item.problem(&format!("expected 1 to {SITES_MAX} plants, found {}", plants.len()), root.problems);
        return Vec::new();
    }
    let site = |row: Item<'_>| {
        let row = row.table(root.problems)?;
        if !rules::is_name(row.key) {
            row.problem(&format!("expected a name of {}", rules::NAME), root.problems);
        }
        let zone = zones.iter().find(|(location, _)| location.key == row.key).map(|(_, zone)| zone.as_str());
        if zone.is_none() && locations.item.child(row.key).is_none() {
            let place = if machines.is_own { &row } else { &locations.item };
            place.problem(&format!("[locations.{}] is missing: expected its timezone", row.key), root.problems);
        }
        let counts = machine_counts(&machines, &row, stages, root.problems);
        Some(Site { name: row.key.into(), timezone: zone.unwrap_or_default().into(), machines: counts })
    };
    let sites: Vec<Site> = plants.into_iter().filter_map(site).collect();
    refuse_shared_ids(&machines.item, &sites, stages, root.problems);
    let total: u64 = sites.iter().flat_map(|site| &site.machines).map(|count| u64::from(*count)).sum();
    if total > MACHINES_MAX {
        machines.item.problem(&format!("expected at most {MACHINES_MAX} machines, found {total}"), root.problems);
    }
    sites
}

/// Machine ids are `KIND-PLANT-NUMBER`: reports plants whose machines would get the ids of another's.
fn refuse_shared_ids(machines: &Item<'_>, sites: &[Site], stages: &[Row<'_>], problems: &mut Problems) {
    let kinds: BTreeSet<&str> = stages.iter().filter(|row| row.is_named()).map(|row| &*row.stage.machine).collect();
    let mut ids = BTreeSet::new();
    for site in sites {
        for kind in &kinds {
            let id = format!("{kind}-{}", site.name);
            if let Some(item) = machines.child(&site.name).filter(|_| ids.contains(&id)) {
                item.problem(&format!("expected another name, as another plant has a machine {id}-1 too"), problems);
            }
            ids.insert(id);
        }
    }
}

/// How many machines a plant has for each stage.
fn machine_counts(machines: &Group<'_>, site: &Item<'_>, stages: &[Row<'_>], problems: &mut Problems) -> Vec<u32> {
    let kinds: Vec<&str> = stages.iter().map(|row| &*row.stage.machine).collect();
    for count in site.children().iter().filter(|count| machines.is_own && !kinds.contains(&count.key)) {
        count.problem(&format!("no stage has such a machine{}", did_you_mean(count.key, &kinds)), problems);
    }
    let count_for = |row: &Row<'_>| {
        let machine = &row.stage.machine;
        let Some(count) = site.child(machine) else {
            if machines.is_own {
                site.problem(&format!("{machine} is missing: expected 1 or more machines"), problems);
            } else {
                let text = format!("machines.{}.{machine} is missing: expected 1 or more machines", site.key);
                row.item.problem(&text, problems);
            }
            return 0;
        };
        count.read(&integer(1..=1_000_000), problems).unwrap_or(0)
    };
    stages.iter().filter(|row| row.is_named()).map(count_for).collect()
}

/// The stages with their processing times.
pub(super) fn timed_stages(root: &mut Section<'_, '_>, stages: Vec<Row<'_>>) -> Vec<Stage> {
    let Some(group) = root.group("processing_times") else { return Vec::new() };
    let second = seconds(0.001..=rules::YEAR_S);
    let times = rows(&group, root.problems, |section| section.min_max(&second));
    let names: Vec<&str> = stages.iter().map(|row| &*row.stage.name).collect();
    for (time, _) in times.iter().filter(|(time, _)| group.is_own && !names.contains(&time.key)) {
        time.problem(&format!("no stage has this name{}", did_you_mean(time.key, &names)), root.problems);
    }
    let timed = |row: Row<'_>| {
        let time = times.iter().find(|(time, _)| time.key == &*row.stage.name).map(|(_, duration)| *duration);
        if time.is_none() && row.is_named() && group.item.child(&row.stage.name).is_none() {
            let place = if row.is_own { &row.item } else { &group.item };
            place.problem(&format!("[processing_times.{}] is missing: expected min and max", row.stage.name), root.problems);
        }
        Stage { duration: time.unwrap_or(row.stage.duration), ..row.stage }
    };
    stages.into_iter().map(timed).collect()
}

/// The rows of a group of tables, each read by `f`.
fn rows<'d, T>(group: &Group<'d>, problems: &mut Problems, f: impl Fn(&mut Section<'d, '_>) -> T) -> Vec<(Item<'d>, T)> {
    let row = |item: Item<'d>| {
        let table = item.table(problems)?;
        let value = Section::read_with(Some(table.clone()), None, problems, &f);
        Some((table, value))
    };
    group.item.children().into_iter().filter_map(row).collect()
}
