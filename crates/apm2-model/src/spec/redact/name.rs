//! Names, and whether what has such a name is a secret.

/// How sure a name makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Strength {
    /// The value has to look like a secret, too.
    Weak,
    /// Whatever the value is.
    Strong,
}

/// What a name calls its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) strength: Strength,
    /// Whether a number may be one: a password, and no token of which there are so many.
    pub(crate) may_be_number: bool,
}

/// What a name calls its value, in the words of people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Noun {
    Password,
    Pass,
    Secret,
    Key,
    Token,
    Auth,
    Credential,
    Signature,
    Dsn,
    Cookie,
}

/// The words of a name that are looked at.
const WORDS_MAX: usize = 12;

/// Endings of words that are written in one.
const ENDINGS: [(&str, Noun); 24] = [
    ("password", Noun::Password),
    ("passwd", Noun::Password),
    ("passphrase", Noun::Password),
    ("passcode", Noun::Password),
    ("passwords", Noun::Password),
    ("passwort", Noun::Password),
    ("dbpass", Noun::Password),
    ("userpass", Noun::Password),
    ("storepass", Noun::Password),
    ("keypass", Noun::Password),
    ("secret", Noun::Secret),
    ("secrets", Noun::Secret),
    ("apikey", Noun::Secret),
    ("apikeys", Noun::Secret),
    ("authtoken", Noun::Secret),
    ("accesstoken", Noun::Secret),
    ("refreshtoken", Noun::Secret),
    ("authkey", Noun::Secret),
    ("secretkey", Noun::Secret),
    ("privatekey", Noun::Secret),
    ("accesskey", Noun::Secret),
    ("apitoken", Noun::Secret),
    ("privkey", Noun::Secret),
    ("connectionstring", Noun::Dsn),
];

/// Words by themselves.
const NOUNS: [(&str, Noun); 24] = [
    ("pwd", Noun::Password),
    ("pw", Noun::Password),
    ("psk", Noun::Secret),
    ("pass", Noun::Pass),
    ("key", Noun::Key),
    ("token", Noun::Token),
    ("tok", Noun::Token),
    ("auth", Noun::Auth),
    ("authorization", Noun::Auth),
    ("credential", Noun::Credential),
    ("credentials", Noun::Credential),
    ("cred", Noun::Credential),
    ("creds", Noun::Credential),
    ("signature", Noun::Signature),
    ("sig", Noun::Signature),
    ("dsn", Noun::Dsn),
    ("cookie", Noun::Cookie),
    ("cookies", Noun::Cookie),
    ("bearer", Noun::Token),
    ("jwt", Noun::Token),
    ("otp", Noun::Token),
    ("pat", Noun::Token),
    ("secretstring", Noun::Secret),
    ("passkey", Noun::Secret),
];

/// What a key is for that is a secret.
const KEY_KINDS: [&str; 45] = [
    "access",
    "account",
    "admin",
    "anthropic",
    "api",
    "app",
    "application",
    "auth",
    "aws",
    "azure",
    "client",
    "consumer",
    "crypto",
    "decryption",
    "deploy",
    "encrypt",
    "encryption",
    "gemini",
    "github",
    "gitlab",
    "google",
    "hmac",
    "jwt",
    "license",
    "master",
    "openai",
    "openrouter",
    "preshared",
    "private",
    "priv",
    "root",
    "secret",
    "sendgrid",
    "server",
    "service",
    "session",
    "shared",
    "signing",
    "ssl",
    "storage",
    "stripe",
    "subscription",
    "tls",
    "webhook",
    "write",
];

/// What a key is that is no secret.
const OPEN_KEYS: [&str; 65] = [
    "alternate",
    "any",
    "arrow",
    "bucket",
    "cache",
    "candidate",
    "composite",
    "config",
    "dedup",
    "dict",
    "distribution",
    "dup",
    "duplicate",
    "each",
    "empty",
    "event",
    "foreign",
    "gpg",
    "group",
    "hash",
    "host",
    "hot",
    "i18n",
    "idempotency",
    "index",
    "invalid",
    "item",
    "join",
    "json",
    "known",
    "label",
    "lookup",
    "map",
    "message",
    "meta",
    "metadata",
    "metric",
    "missing",
    "natural",
    "no",
    "object",
    "partition",
    "pgp",
    "press",
    "primary",
    "pub",
    "public",
    "queue",
    "range",
    "registry",
    "rotate",
    "routing",
    "row",
    "shard",
    "shortcut",
    "sort",
    "sorting",
    "state",
    "surrogate",
    "the",
    "this",
    "trace",
    "translation",
    "unique",
    "unknown",
];

/// What a token is that is a piece of text.
const OPEN_TOKENS: [&str; 52] = [
    "added",
    "audio",
    "bad",
    "begin",
    "bos",
    "cache",
    "cached",
    "cls",
    "completion",
    "cost",
    "current",
    "each",
    "end",
    "eos",
    "every",
    "expected",
    "extra",
    "first",
    "found",
    "illegal",
    "image",
    "input",
    "invalid",
    "last",
    "lexer",
    "lookahead",
    "mask",
    "max",
    "min",
    "new",
    "next",
    "no",
    "num",
    "one",
    "output",
    "pad",
    "parser",
    "per",
    "prev",
    "previous",
    "prompt",
    "reasoning",
    "sep",
    "special",
    "start",
    "stop",
    "sub",
    "the",
    "this",
    "total",
    "unexpected",
    "unk",
];

/// What a pass is that one makes.
const OPEN_PASSES: [&str; 14] = [
    "by", "compiler", "did", "first", "high", "llvm", "low", "multi", "one", "opt", "render", "second", "single",
    "test",
];

/// What is asked of a name before its noun when it is a switch and not a value.
const SWITCHES: [&str; 22] = [
    "ask",
    "allow",
    "disable",
    "enable",
    "forgot",
    "generate",
    "generated",
    "has",
    "have",
    "is",
    "need",
    "needs",
    "no",
    "prompt",
    "require",
    "requires",
    "reset",
    "show",
    "skip",
    "use",
    "with",
    "without",
];

/// What the name of a function begins with.
const VERBS: [&str; 19] = [
    "check", "create", "decode", "derive", "encode", "encrypt", "export", "find", "get", "import", "init", "load",
    "lookup", "make", "parse", "read", "save", "validate", "verify",
];

/// What is about a secret, and none.
const ABOUT: [&str; 92] = [
    "alg",
    "algorithm",
    "arn",
    "attempts",
    "audience",
    "backend",
    "bindings",
    "bits",
    "budget",
    "bytes",
    "changed",
    "chars",
    "class",
    "column",
    "config",
    "count",
    "counts",
    "created",
    "dir",
    "directory",
    "enabled",
    "endpoint",
    "env",
    "error",
    "errors",
    "exception",
    "exp",
    "expiration",
    "expire",
    "expired",
    "expires",
    "expiry",
    "failed",
    "field",
    "file",
    "filename",
    "folder",
    "format",
    "generator",
    "header",
    "helper",
    "host",
    "id",
    "ids",
    "index",
    "info",
    "issuer",
    "kind",
    "label",
    "len",
    "length",
    "level",
    "lifetime",
    "limit",
    "limits",
    "manager",
    "max",
    "method",
    "min",
    "mode",
    "name",
    "names",
    "parser",
    "path",
    "policy",
    "port",
    "prefix",
    "prompt",
    "provider",
    "ref",
    "required",
    "reset",
    "ring",
    "rotation",
    "scope",
    "scopes",
    "seconds",
    "sha",
    "size",
    "sock",
    "socket",
    "spec",
    "status",
    "stdin",
    "store",
    "strength",
    "ttl",
    "type",
    "uri",
    "url",
    "usage",
    "version",
];

/// What may follow the noun of a name and changes nothing.
const AFTER: [&str; 22] = [
    "b64",
    "base",
    "base64",
    "current",
    "data",
    "default",
    "dev",
    "live",
    "local",
    "main",
    "new",
    "old",
    "plain",
    "primary",
    "prod",
    "production",
    "secondary",
    "staging",
    "test",
    "text",
    "value",
    "val",
];

/// Judges what has this name; `None` where it is no secret. `before` is the word before it, in plain text.
pub(crate) fn judge(name: &str, before: Option<&str>) -> Option<Verdict> {
    let is_constant =
        name.bytes().any(|byte| byte.is_ascii_uppercase()) && !name.bytes().any(|byte| byte.is_ascii_lowercase());
    let mut words = words_of(name);
    let is_compound = words.len() > 1;
    if let ([_], Some(before)) = (words.as_slice(), before) {
        words.insert(0, before.to_ascii_lowercase());
    }
    let (at, noun) = words.iter().enumerate().rev().find_map(|(at, word)| noun_of(word).map(|noun| (at, noun)))?;
    let after = words.get(at + 1..).unwrap_or_default();
    if words.iter().any(|word| word == "public") || after.iter().any(|word| ABOUT.contains(&word.as_str())) {
        return None;
    }
    let is_known_after = after.iter().all(|word| AFTER.contains(&word.as_str()) || noun_of(word).is_some());
    let is_certain = matches!(noun, Noun::Password | Noun::Secret);
    if !(is_known_after || (is_certain && is_constant)) {
        return None;
    }
    let kind = at.checked_sub(1).and_then(|before| words.get(before)).map(String::as_str);
    let is_function = !is_constant && words.first().is_some_and(|first| VERBS.contains(&first.as_str()));
    if is_compound && (is_function || kind.is_some_and(|kind| SWITCHES.contains(&kind))) {
        return None;
    }
    let strength = strength_of(noun, kind, is_constant, is_compound, name)?;
    let may_be_number = matches!(noun, Noun::Password | Noun::Secret) && !name.ends_with('s');
    Some(Verdict { strength, may_be_number })
}

fn strength_of(noun: Noun, kind: Option<&str>, is_constant: bool, is_compound: bool, name: &str) -> Option<Strength> {
    let strong_if = |is_strong: bool| Some(if is_strong { Strength::Strong } else { Strength::Weak });
    match (noun, kind) {
        (Noun::Password | Noun::Secret | Noun::Dsn, _) => Some(Strength::Strong),
        (Noun::Key, Some(kind)) if KEY_KINDS.contains(&kind) => Some(Strength::Strong),
        (Noun::Key, Some(kind)) if OPEN_KEYS.contains(&kind) => None,
        (Noun::Key, _) => strong_if(is_constant),
        (Noun::Token, Some(kind)) if OPEN_TOKENS.contains(&kind) => None,
        (Noun::Token, Some("access" | "api" | "auth" | "bearer" | "bot" | "refresh" | "secret" | "session")) => {
            Some(Strength::Strong)
        }
        (Noun::Pass, Some(kind)) if OPEN_PASSES.contains(&kind) => None,
        (Noun::Token | Noun::Pass, _) => strong_if(is_compound || is_constant),
        // `_auth` of an .npmrc.
        (Noun::Auth, _) => strong_if(is_constant || name.starts_with('_')),
        (Noun::Signature, Some("access")) => Some(Strength::Strong),
        (Noun::Credential | Noun::Signature | Noun::Cookie, _) => strong_if(is_constant && noun != Noun::Signature),
    }
}

fn noun_of(word: &str) -> Option<Noun> {
    let word = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let by_itself = NOUNS.iter().find(|(noun, _)| *noun == word);
    by_itself.or_else(|| ENDINGS.iter().find(|(ending, _)| word.ends_with(ending))).map(|(_, noun)| *noun)
}

/// The words of `API_KEY`, `apiKey`, `X-Api-Key`, `api.key`, in small letters.
fn words_of(name: &str) -> Vec<String> {
    // `-Dpassword=…` of Java.
    let name = name.strip_prefix("-D").unwrap_or(name);
    let mut words = Vec::new();
    let mut word = String::new();
    let characters: Vec<char> = name.chars().collect();
    for (at, c) in characters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| characters.get(at));
        let after = characters.get(at + 1);
        let is_hump = c.is_ascii_uppercase()
            && (before.is_some_and(|before| before.is_ascii_lowercase() || before.is_ascii_digit())
                || (before.is_some_and(char::is_ascii_uppercase) && after.is_some_and(char::is_ascii_lowercase)));
        if (is_hump || !c.is_ascii_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_ascii_alphanumeric() {
            word.push(c.to_ascii_lowercase());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    if words.len() > 1 && words.last().is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit())) {
        words.pop();
    }
    let first = words.len().saturating_sub(WORDS_MAX);
    words.split_off(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strength(name: &str) -> Option<Strength> {
        judge(name, None).map(|verdict| verdict.strength)
    }

    #[test]
    fn a_name_is_taken_apart_into_its_words() {
        assert_eq!(words_of("X-Api-Key"), ["x", "api", "key"]);
        assert_eq!(words_of("sharedAccessKey2"), ["shared", "access", "key2"]);
        assert_eq!(words_of("APIKey_1"), ["api", "key"]);
    }

    #[test]
    fn words_that_only_contain_a_secrets_name_are_none() {
        for name in
            ["tokenizer", "keyboard", "monkey", "Author", "passed", "compass", "max_tokens", "public_key", "key_file"]
        {
            assert_eq!(strength(name), None, "{name}");
        }
        for name in [
            "password",
            "API_KEY",
            "apiKey",
            "DB_PWD",
            "github_token",
            "SECRET_KEY_BASE",
            "PGPASSWORD",
            "aws_secret_access_key",
        ] {
            assert_eq!(strength(name), Some(Strength::Strong), "{name}");
        }
        assert_eq!(strength("key"), Some(Strength::Weak));
    }
}
