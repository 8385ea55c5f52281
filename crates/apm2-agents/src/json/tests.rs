use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn members(text: &str) -> Option<Vec<(String, String)>> {
    let mut members = Vec::new();
    let mut scanner = Scanner::new(text);
    each_member(&mut scanner, |key, next| {
        members.push((key.to_owned(), next.value()?.to_owned()));
        Some(())
    })?;
    scanner.is_at_end().then_some(members)
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 4.0)),
        any::<String>().prop_map(Value::from),
        "[\"\\\\{}\\[\\]:, ]{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn values_have_the_extent_that_serde_json_finds(value in any_json(), is_pretty in any::<bool>()) {
        let text = if is_pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
        match &value {
            Value::Object(object) => {
                let found = members(&text).unwrap();
                prop_assert_eq!(found.len(), object.len());
                for (key, raw) in found {
                    prop_assert_eq!(&serde_json::from_str::<Value>(&raw).unwrap(), &object[&key]);
                }
            }
            Value::Array(array) => {
                prop_assert_eq!(members(&text), None);
                let mut found = Vec::new();
                for_each(Raw(&text), |element: Option<Raw<'_>>| {
                    found.push(serde_json::from_str::<Value>(element.unwrap().get()).unwrap());
                });
                prop_assert_eq!(&found, array);
            }
            _ => prop_assert_eq!(members(&text), None),
        }
    }

    #[test]
    fn an_object_is_read_in_its_place_as_it_is_alone(value in "(\"(code|inner|a)\":|[{}\\[\\],:\"\\\\ x1]){0,12}") {
        let text = format!("{{\"inner\":{{{value},\"code\":1}}");
        let (mut in_place, mut apart) = (InPlace::default(), Apart::default());
        let are_whole = (read_object(&text, &mut in_place), read_object(&text, &mut apart));
        prop_assert_eq!(are_whole.0, are_whole.1);
        let alone: Option<Option<Inner<'_>>> = apart.inner.map(Lenient::read);
        let code = |inner: Option<Inner<'_>>| inner.map(|inner| inner.code);
        prop_assert_eq!(code(in_place.inner), code(alone.flatten()));
    }

    #[test]
    fn a_part_of_an_object_is_not_an_object(value in any_json(), at in any::<prop::sample::Index>()) {
        let text = serde_json::json!({ "a": value, "b": 1 }).to_string();
        let cut = at.index(text.len());
        if let Some(part) = text.get(..cut) {
            prop_assert_eq!(members(part), None);
        }
    }
}

#[test]
fn what_is_not_one_object_is_refused() {
    let refused = [
        "",
        "{",
        "{}}",
        "{} x",
        "[]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1 \"b\":2}",
        "{a:1}",
        "{\"a\":\"",
        "{\"a\":\"\\",
        "{\"a\":[}",
        "{\"a\":1,,\"b\":2}",
    ];
    for text in refused {
        assert_eq!(members(text), None, "{text}");
    }
}

object! {
    Example<'a> {
        name: Option<Cow<'a, str>> = "name",
        count: Option<u64> = "count",
        part: Option<f64> = "part",
        is_set: Option<bool> = "is_set",
        inner: Inner<'a> = "inner",
    }
}

object! {
    Inner<'a> {
        code: Option<i64> = "code",
    }
}

object! {
    InPlace<'a> {
        inner: Option<Inner<'a>> = "inner",
    }
}

object! {
    Apart<'a> {
        inner: Option<Raw<'a>> = "inner",
    }
}

type Members = (Option<String>, Option<u64>, Option<f64>, Option<bool>, Option<i64>);

fn example(text: &str) -> Members {
    let mut example = Example::default();
    assert!(read_object(text, &mut example), "{text}");
    (example.name.map(Cow::into_owned), example.count, example.part, example.is_set, example.inner.code)
}

#[test]
fn a_member_of_another_type_is_absent() {
    let all = r#"{"name":"a\u00e9","count":2000.9,"part":-1.5e2,"is_set":true,"inner":{"code":-7},"other":[{}]}"#;
    assert_eq!(example(all), (Some("a\u{e9}".to_owned()), Some(2000), Some(-150.0), Some(true), Some(-7)));
    let none = [
        r#"{"name":1,"count":"1","part":"1","is_set":1,"inner":1}"#,
        r#"{"name":{"a":"b"},"count":-1,"part":nan,"is_set":"true","inner":[{"code":1}]}"#,
        r#"{"name":"\ud800","count":99999999999999999999,"part":inf,"is_set":null,"inner":{"code":1.5}}"#,
        r#"{"name":null,"count":null,"part":null,"is_set":null,"inner":null}"#,
    ];
    for text in none {
        assert_eq!(example(text), (None, None, None, None, None), "{text}");
    }
}

#[test]
fn the_last_of_duplicate_keys_is_used() {
    assert_eq!(example(r#"{"count":1,"count":2,"\u0063ount":3}"#).1, Some(3));
}

#[test]
fn a_name_in_a_cut_line_is_found_outside_of_strings_only() {
    let line = r#"{"text":"\"tool_use_id\":\"inside\"","a":[{"tool_use_id":"t1","content":"x"#;
    assert_eq!(scan_for(line, "\"tool_use_id"), Some("t1"));
    assert_eq!(scan_for(line, "\"other"), None);
}
