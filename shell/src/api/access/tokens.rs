//! The file of tokens: who holds one, what it allows, and until when. The tokens themselves are nowhere, only their hashes.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};
use windlass_core::time::Wall;

use super::role::Role;
use crate::api::field::{hex, unhex};

/// How the tokens of `windlass token new` begin, so that a scanner of secrets knows one when it sees it.
pub const TOKEN_PREFIX: &str = "wdl_";
/// The random bytes of such a token.
const TOKEN_BYTES: usize = 32;
/// A shorter token can be guessed, whatever its hash: it is never let in.
const TOKEN_LEN_MIN: usize = 32;
/// A longer one is not looked at.
const TOKEN_LEN_MAX: usize = 512;
/// The longest name of whom a token belongs to.
const NAME_LEN_MAX: usize = 64;
/// The most tokens of one file: each of them is compared with every token that is shown.
const TOKENS_MAX: usize = 1_000;
/// The largest file that is read.
const FILE_LEN_MAX: u64 = 256 * 1024;

type Hash = [u8; 32];

/// Whom a token belongs to, and what it allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The name in the file.
    pub name: Arc<str>,
    /// What it may do.
    pub role: Role,
    /// From when on it is worth nothing.
    pub expires: Option<Wall>,
    hash: Hash,
}

/// All tokens of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    holders: Vec<Holder>,
}

impl Tokens {
    /// The tokens in the file `path`, or what is wrong with it.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let wrong = |why: String| format!("the tokens in {}: {why}", path.display());
        let text = read_private(path).map_err(wrong)?;
        Self::parse(&text).map_err(wrong)
    }

    /// The tokens in `text`: `NAME ROLE SHA256 [EXPIRES]` a line, `#` begins a comment.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut holders: Vec<Holder> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let wrong = |why: String| format!("line {}: {why}", index + 1);
            let holder = Holder::parse(line).map_err(wrong)?;
            if holders.iter().any(|other| other.name == holder.name) {
                return Err(wrong(format!("{} is there twice", holder.name)));
            }
            if holders.iter().any(|other| other.hash == holder.hash) {
                return Err(wrong("the same token is there twice".to_owned()));
            }
            holders.push(holder);
            if holders.len() > TOKENS_MAX {
                return Err(wrong(format!("there are more than {TOKENS_MAX} tokens")));
            }
        }
        if holders.is_empty() {
            return Err(
                "there is none; `windlass token new NAME --role ROLE` makes one".to_owned(),
            );
        }
        Ok(Self { holders })
    }

    /// Whose `token` is at `now`. Takes as long for a wrong one as for any right one: every hash is compared, whole.
    pub(crate) fn find(&self, token: &str, now: Wall) -> Option<&Holder> {
        if token.len() < TOKEN_LEN_MIN || token.len() > TOKEN_LEN_MAX {
            return None;
        }
        let hash = hash(token);
        let mut found = 0_u64;
        for (number, holder) in (1_u64..).zip(&self.holders) {
            found.conditional_assign(&number, hash.ct_eq(&holder.hash));
        }
        let index = usize::try_from(found).ok()?.checked_sub(1)?;
        self.holders.get(index).filter(|holder| holder.lives(now))
    }

    /// Whether `holder` is still let in at `now`, with the same role.
    pub(crate) fn knows(&self, holder: &Holder, now: Wall) -> bool {
        self.holders
            .iter()
            .any(|other| other.hash == holder.hash && other.role == holder.role && other.lives(now))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.holders.len()
    }
}

impl Holder {
    fn parse(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        let mut word = |what: &str| words.next().ok_or_else(|| format!("has no {what}"));
        let name = check_name(word("name")?)?;
        let role = word("role")?.parse()?;
        let spelled = word("hash")?;
        let hash = unhex(&spelled.to_ascii_lowercase())
            .and_then(|bytes| Hash::try_from(bytes).ok())
            .ok_or("the hash is not a SHA-256 in 64 hex digits")?;
        let expires = words.next().map(time).transpose()?;
        if words.next().is_some() {
            return Err("has more than a name, a role, a hash and an expiry".to_owned());
        }
        Ok(Self {
            name: name.into(),
            role,
            expires,
            hash,
        })
    }

    fn lives(&self, now: Wall) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

/// Refuses what is no name: it goes into logs and answers.
pub(crate) fn check_name(name: &str) -> Result<&str, String> {
    let legal =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@');
    if (1..=NAME_LEN_MAX).contains(&name.len()) && name.bytes().all(legal) {
        Ok(name)
    } else {
        Err(format!(
            "a name has 1 to {NAME_LEN_MAX} letters, digits, dots, hyphens, underscores or at-signs"
        ))
    }
}

fn time(text: &str) -> Result<Wall, String> {
    let time: Timestamp = text
        .parse()
        .map_err(|_| "the expiry is not a time such as 2030-01-31T00:00:00Z".to_owned())?;
    u64::try_from(time.as_millisecond())
        .map(Wall::from_millis)
        .map_err(|_| "the expiry lies before 1970".to_owned())
}

fn hash(token: &str) -> Hash {
    Sha256::digest(token.as_bytes()).into()
}

/// A new token and the hash that a file has of it, from random `bytes`.
pub(crate) fn new_token(bytes: [u8; TOKEN_BYTES]) -> (String, String) {
    let token = format!("{TOKEN_PREFIX}{}", hex(&bytes));
    let hash = hex(&hash(&token));
    (token, hash)
}

/// The text of a file that not everybody on this machine can read.
fn read_private(path: &Path) -> Result<String, String> {
    let mut file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let found = file
        .metadata()
        .map_err(|error| format!("cannot be read: {error}"))?;
    if !found.is_file() {
        return Err("that is no file".to_owned());
    }
    if found.permissions().mode() & 0o007 != 0 {
        return Err(
            "everybody on this machine may use the file; take that away (chmod o= FILE)".to_owned(),
        );
    }
    let mut text = String::new();
    let len = std::io::Read::by_ref(&mut file)
        .take(FILE_LEN_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if len as u64 > FILE_LEN_MAX {
        return Err(format!("the file is larger than {FILE_LEN_MAX} bytes"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Wall = Wall::from_millis(1_700_000_000_000);

    fn token(seed: u8) -> (String, String) {
        new_token([seed; TOKEN_BYTES])
    }

    #[test]
    fn a_token_is_found_by_its_hash_and_no_other_is() {
        let ((one, one_hash), (two, two_hash)) = (token(1), token(2));
        assert!(one.starts_with(TOKEN_PREFIX) && one.len() == 68);
        let text = format!(
            "# who may\n\nci submit {one_hash}  # the pipeline\nops operate {} 2030-01-01T00:00:00Z\n",
            two_hash.to_uppercase()
        );
        let tokens = Tokens::parse(&text).unwrap();
        assert_eq!(tokens.len(), 2);
        let ci = tokens.find(&one, NOW).unwrap();
        assert_eq!((&*ci.name, ci.role), ("ci", Role::Submit));
        assert_eq!(&*tokens.find(&two, NOW).unwrap().name, "ops");
        for wrong in [
            "",
            "wdl_",
            &one[..67],
            &format!("{one}x"),
            &one_hash,
            &token(3).0,
        ] {
            assert_eq!(tokens.find(wrong, NOW), None, "{wrong}");
        }
    }

    #[test]
    fn a_token_is_worth_nothing_from_its_expiry_on() {
        let (text, hash) = token(1);
        let tokens = Tokens::parse(&format!("a read {hash} 2023-11-14T22:13:20Z")).unwrap();
        let just_before = Wall::from_millis(NOW.as_millis() - 1);
        let holder = tokens.find(&text, just_before).unwrap().clone();
        assert!(tokens.knows(&holder, just_before));
        assert_eq!(tokens.find(&text, NOW), None);
        assert!(!tokens.knows(&holder, NOW));
    }

    #[test]
    fn a_holder_is_not_known_under_another_role() {
        let (text, hash) = token(1);
        let before = Tokens::parse(&format!("a admin {hash}")).unwrap();
        let holder = before.find(&text, NOW).unwrap().clone();
        let after = Tokens::parse(&format!("a read {hash}")).unwrap();
        assert!(before.knows(&holder, NOW) && !after.knows(&holder, NOW));
    }

    #[test]
    fn a_short_token_is_never_let_in() {
        for secret in [
            "",
            "default_token",
            "8-chars!",
            &"x".repeat(TOKEN_LEN_MIN - 1),
        ] {
            let tokens = Tokens::parse(&format!("a admin {}", hex(&hash(secret)))).unwrap();
            assert_eq!(tokens.find(secret, NOW), None, "{secret:?}");
        }
        for len in [TOKEN_LEN_MIN, TOKEN_LEN_MAX] {
            let secret = "x".repeat(len);
            let tokens = Tokens::parse(&format!("a admin {}", hex(&hash(&secret)))).unwrap();
            assert!(tokens.find(&secret, NOW).is_some(), "{len}");
        }
        let secret = "x".repeat(TOKEN_LEN_MAX + 1);
        let tokens = Tokens::parse(&format!("a admin {}", hex(&hash(&secret)))).unwrap();
        assert_eq!(tokens.find(&secret, NOW), None);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let (one, two) = (token(1).1, token(2).1);
        for (text, line, why) in [
            (format!("a read {one}\na read {two}"), 2, "a is there twice"),
            (format!("a read {one}\n\nb read {one}"), 3, "the same token"),
            (format!("a root {one}"), 1, "a role is one of"),
            ("a".to_owned(), 1, "has no role"),
            ("a read".to_owned(), 1, "has no hash"),
            (format!("a read {}", &one[1..]), 1, "not a SHA-256"),
            (format!("a read {one} tomorrow"), 1, "the expiry"),
            (
                format!("a read {one} 2030-01-01T00:00:00Z x"),
                1,
                "more than",
            ),
            (format!("{} read {one}", "a".repeat(65)), 1, "a name has"),
            (format!("a\u{7}b read {one}"), 1, "a name has"),
        ] {
            let error = Tokens::parse(&text).unwrap_err();
            assert!(error.contains(&format!("line {line}: ")), "{error}");
            assert!(error.contains(why), "{error}");
        }
        for nothing in ["", "# nobody\n\n"] {
            assert!(
                Tokens::parse(nothing)
                    .unwrap_err()
                    .contains("there is none")
            );
        }
        let many: String = (0..=TOKENS_MAX)
            .map(|n| format!("a{n} read {}\n", hex(&hash(&n.to_string()))))
            .collect();
        assert!(Tokens::parse(&many).unwrap_err().contains("more than 1000"));
        let (most, _) = many.trim_end().rsplit_once('\n').unwrap();
        assert_eq!(Tokens::parse(most).unwrap().len(), TOKENS_MAX);
    }

    #[test]
    fn a_file_that_everybody_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, format!("a read {}\n", token(1).1)).unwrap();
        let set = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for mode in [0o604, 0o602, 0o601] {
            set(mode);
            assert!(Tokens::read(&path).unwrap_err().contains("everybody"));
        }
        for mode in [0o600, 0o440] {
            set(mode);
            assert_eq!(Tokens::read(&path).unwrap().len(), 1);
        }
        assert!(
            Tokens::read(folder.path())
                .unwrap_err()
                .contains("tokens in")
        );
    }

    proptest! {
        #[test]
        fn no_text_crashes_the_reader(text in any::<String>(), line in "[a-z0-9 #@:TZ-]{0,90}") {
            let _ = (Tokens::parse(&text), Tokens::parse(&line));
        }
    }
}
