//! JSON Schema of descriptors (draft 2020-12), made of the types that read them.
//!
//! A file is one of three things: a whole board; a board that extends a family, in which nothing but `extends` has to be
//! there, since the rest may be the family's; or a refusal. The second is the first with its demands taken back, and with
//! the keys that change a family's entries.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema, schema_for};
use serde_json::{Map, Value, json};

use super::family::NAMED;
use super::raw::RawBoard;
use super::refusal::Refusal;
use crate::value::SIZE_PATTERN;

/// Key below which a schema has its parts.
const DEFINITIONS: &str = "$defs";

/// Schema of the descriptor of a board.
pub fn schema() -> Value {
    let (mut board, mut definitions) = parts(schema_for!(RawBoard));
    let (refusal, more) = parts(schema_for!(Refusal));
    definitions.extend(more);
    let extension = extension(&board, &mut definitions);
    board["description"] = json!("A board with all that is known of it.");
    definitions.insert("board".into(), board);
    definitions.insert("extension".into(), extension);
    definitions.insert("refusal".into(), refusal);
    let files = ["board", "extension", "refusal"].map(reference);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Board descriptor of skiff-image",
        "oneOf": files,
        DEFINITIONS: definitions,
    });
    without_null(&mut schema);
    schema
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/{DEFINITIONS}/{name}")})
}

/// A schema of one type, and those that it refers to.
fn parts(schema: Schema) -> (Value, Map<String, Value>) {
    let mut schema = schema.to_value();
    let fields = schema.as_object_mut().expect("the schema of a structure is an object");
    fields.remove("$schema");
    fields.remove("title");
    let definitions = match fields.remove(DEFINITIONS) {
        Some(Value::Object(definitions)) => definitions,
        _ => Map::new(),
    };
    (schema, definitions)
}

/// Schema of a board that extends a family; adds those of its entries.
fn extension(board: &Value, definitions: &mut Map<String, Value>) -> Value {
    let mut extension = board.clone();
    extension["description"] = json!("A board that changes what a family says.");
    extension["required"] = json!(["extends"]);
    let keys = &mut extension["properties"];
    keys["extends"] = json!({
        "type": "string",
        "description": "Family in `family/` whose keys this board takes over and changes.",
    });
    for name in NAMED {
        let change = format!("{name}-change");
        keys[name]["items"] = reference(&change);
        let entry = changed_entry(&definitions[name]);
        definitions.insert(change, entry);
    }
    keys["table"] = reference("table-change");
    let mut table = definitions["table"].clone();
    table.as_object_mut().expect("an object").remove("required");
    definitions.insert("table-change".into(), table);
    extension
}

/// Schema of an entry that is new or changes one of a family.
fn changed_entry(entry: &Value) -> Value {
    let mut changed = entry.clone();
    changed["required"] = json!(["name"]);
    let keys = &mut changed["properties"];
    keys["drop"] = json!({
        "const": true,
        "description": "Beside nothing but `name`: the entry of the family is left out.",
    });
    if let Some(file) = keys.get("file").cloned() {
        keys["file-only"] = file;
        keys["file-only"]["description"] =
            json!("Instead of `file`, whose entries follow those of the family: only these.");
    }
    changed
}

/// TOML has no null: what may be left out is left out.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Array(all) => all.iter_mut().for_each(without_null),
        Value::Object(fields) => {
            if let Some(Value::Array(types)) = fields.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    fields.insert("type".into(), only);
                }
            }
            if let Some(Value::Array(choices)) = fields.get_mut("anyOf") {
                choices.retain(|choice| choice["type"] != "null");
            }
            fields.retain(|key, value| key != "default" || !value.is_null());
            fields.values_mut().for_each(without_null);
        }
        _ => {}
    }
}

/// Demand that a placed file names one source.
pub(super) fn one_source() -> Value {
    let sources = ["image", "tree", "artifact", "directory", "root", "text", "link"];
    json!(sources.map(|source| json!({"required": [source]})))
}

/// Shape of `size` of a partition.
pub(super) struct PartitionSize;

impl JsonSchema for PartitionSize {
    fn schema_name() -> Cow<'static, str> {
        "partition-size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"enum": ["fit", "rest"]}, {"type": "string", "pattern": SIZE_PATTERN}]})
    }
}
