//! Installs Debian and Ubuntu packages without touching the machine's lists of sources.
//!
//! The archive's address comes from the machine's own apt configuration, in either of its two formats. A scratch
//! directory holds the one source that is needed (with the release's backports, where QEMU comes from there), its
//! lists and its cache, and is gone afterwards.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// Where apt keeps its sources.
const CONFIGURATION: &str = "/etc/apt";
/// Names of a release that Debian moves from one to the next.
const MOVING: [&str; 2] = ["stable", "oldstable"];

/// One source of packages.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Archive {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    /// Keyring or key by which it is signed, as it stands in the configuration.
    signed_by: Option<String>,
}

/// What to install.
pub struct Wish<'a> {
    /// Name of the release.
    pub release: &'a str,
    /// Components of the archive in which the packages are.
    pub components: &'a [&'a str],
    /// Whether to take the newest from the release's backports.
    pub backports: bool,
    /// The packages.
    pub packages: &'a [&'a str],
}

/// Installs packages; needs root.
pub fn install(wish: &Wish<'_>) -> Result<()> {
    let archive = archive(Path::new(CONFIGURATION), wish.release)
        .with_context(|| format!("no source in {CONFIGURATION} is for {}", wish.release))?;
    let scratch = Scratch::new(&archive.source(wish))?;
    process::show(scratch.apt().args(["-qq", "update"]))?;
    let mut install = scratch.apt();
    install
        .args(["-qq", "-y", "-o", "Dpkg::Use-Pty=0", "--no-install-recommends", "install"])
        .env("DEBIAN_FRONTEND", "noninteractive");
    if wish.backports {
        install.arg("-t").arg(format!("{}-backports", wish.release));
    }
    process::show(install.args(wish.packages))
}

/// A directory in which apt finds one source and keeps everything that it fetches.
pub struct Scratch {
    dir: tempfile::TempDir,
}

impl Scratch {
    /// A scratch directory with this source, in the format of `.sources` files.
    pub fn new(source: &str) -> Result<Scratch> {
        let dir = tempfile::tempdir()?;
        // apt fetches as a user of its own, who must be able to enter.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
        for name in ["sources", "lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.path().join(name))?;
        }
        fs::write(dir.path().join("sources/slowpath.sources"), source)?;
        Ok(Scratch { dir })
    }

    /// `apt-get` that knows nothing but the scratch directory's source.
    pub fn apt(&self) -> Command {
        self.tool("apt-get")
    }

    /// One of apt's programs, likewise.
    pub fn tool(&self, name: &str) -> Command {
        let mut tool = Command::new(name);
        for (option, place) in [("Etc::SourceParts", "sources"), ("State::Lists", "lists"), ("Cache", "cache")] {
            tool.arg("-o").arg(format!("Dir::{option}={}", self.dir.path().join(place).display()));
        }
        tool.args(["-o", "Dir::Etc::SourceList=/dev/null"]);
        tool
    }
}

/// The source that the machine has for this release.
pub fn archive(configuration: &Path, release: &str) -> Option<Archive> {
    let mut files = vec![configuration.join("sources.list")];
    let parts = fs::read_dir(configuration.join("sources.list.d")).into_iter().flatten().flatten();
    files.extend(parts.map(|entry| entry.path()));
    files.sort();
    let archives = files.iter().filter_map(|path| {
        let text = fs::read_to_string(path).ok()?;
        match path.extension()?.to_str()? {
            "sources" => Some(stanzas(&text)),
            "list" => Some(text.lines().filter_map(one_line).collect()),
            _ => None,
        }
    });
    let fits = |suite: &String| suite == release || MOVING.contains(&suite.as_str());
    archives.flatten().find(|archive: &Archive| {
        archive.suites.iter().any(fits) && archive.components.iter().any(|component| component == "main")
    })
}

impl Archive {
    /// This archive as a source of a wish's packages.
    pub fn source(&self, wish: &Wish<'_>) -> String {
        let backports = if wish.backports { format!(" {}-backports", wish.release) } else { String::new() };
        let mut text = format!(
            "Types: deb\nURIs: {}\nSuites: {release} {release}-updates{backports}\nComponents: {}\n",
            self.uris.join(" "),
            wish.components.join(" "),
            release = wish.release,
        );
        if let Some(key) = &self.signed_by {
            text += &format!("Signed-By: {key}\n");
        }
        text
    }
}

/// A line of the form `deb [options] uri suite components...`.
fn one_line(line: &str) -> Option<Archive> {
    let line = line.split('#').next()?.trim().strip_prefix("deb")?;
    let line = line.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match line.strip_prefix('[') {
        Some(line) => line.split_once(']')?,
        None => ("", line),
    };
    let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    let mut words = rest.split_whitespace().map(str::to_owned);
    let uri = words.next().filter(|uri| is_usable(uri))?;
    Some(Archive {
        uris: vec![uri],
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by: signed_by.map(|key| key.replace(',', " ")),
    })
}

/// Stanzas of fields; a field goes on in lines that start with a space.
fn stanzas(text: &str) -> Vec<Archive> {
    let text: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    text.split(|line| line.trim().is_empty()).filter_map(stanza).collect()
}

/// One stanza; none if it is switched off, or has no packages to install.
fn stanza(lines: &[&str]) -> Option<Archive> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut last = String::new();
    for line in lines {
        if line.starts_with([' ', '\t']) {
            let field = fields.get_mut(&last)?;
            *field += "\n";
            *field += line;
        } else {
            let (name, value) = line.split_once(':')?;
            last = name.to_ascii_lowercase();
            fields.insert(last.clone(), value.trim().to_owned());
        }
    }
    let words = |name: &str| -> Vec<String> {
        fields.get(name).map(|value| value.split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
    };
    let off = fields.get("enabled").is_some_and(|value| ["no", "false", "0"].contains(&value.as_str()));
    let uris: Vec<String> = words("uris").into_iter().filter(|uri| is_usable(uri)).collect();
    if off || uris.is_empty() || !words("types").iter().any(|kind| kind == "deb") {
        return None;
    }
    let signed_by = fields.get("signed-by").cloned();
    Some(Archive { uris, suites: words("suites"), components: words("components"), signed_by })
}

/// Disks that must be put in are of no use.
fn is_usable(uri: &str) -> bool {
    uri.contains(':') && !uri.starts_with("cdrom:")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes `text` as the configuration's `file`; the source for `release` must be `expected`.
    #[track_caller]
    fn check(file: &str, text: &str, release: &str, expected: Option<&str>) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sources.list.d")).unwrap();
        fs::write(dir.path().join(file), text).unwrap();
        let wish = Wish { release, components: &["main"], backports: true, packages: &[] };
        let source = archive(dir.path(), release).map(|archive| archive.source(&wish));
        assert_eq!(source.as_deref(), expected, "{text}");
    }

    const PLAIN: &str = "Types: deb\nURIs: http://mirror.test/debian\nSuites: bookworm bookworm-updates bookworm-backports\n\
         Components: main\n";

    #[test]
    fn lines_are_understood() {
        let list = "# deb http://old.test/debian bookworm main\n\
                    deb cdrom:[Debian]/ bookworm main\n\
                    deb-src http://src.test/debian bookworm main\n\
                    deb http://mirror.test/debian-security bookworm-security main\n\
                    deb http://mirror.test/debian bookworm main contrib # the mirror\n";
        check("sources.list", list, "bookworm", Some(PLAIN));
        check("sources.list", list, "trixie", None);
        let signed = "deb [arch=amd64 signed-by=/k.gpg] http://mirror.test/debian stable main\n";
        check("sources.list.d/a.list", signed, "bookworm", Some(&format!("{PLAIN}Signed-By: /k.gpg\n")));
        check("sources.list", "debby\ndeb\ndeb http://x.test/\n", "bookworm", None);
    }

    #[test]
    fn stanzas_are_understood() {
        let stanzas = "Types: deb\nURIs: http://off.test\nSuites: bookworm\nComponents: main\nEnabled: no\n\n\
                       # the mirror\nTypes: deb deb-src\nURIs: http://mirror.test/debian\n# here too\n\
                       Suites: bookworm bookworm-updates\nComponents: main\nSigned-By:\n -----BEGIN\n .\n -----END\n\n\
                       Types: deb\nURIs: http://late.test\nSuites: bookworm\nComponents: main\n";
        let expected = format!("{PLAIN}Signed-By: \n -----BEGIN\n .\n -----END\n");
        check("sources.list.d/debian.sources", stanzas, "bookworm", Some(&expected));
        check(
            "sources.list.d/debian.sources",
            "Types: deb-src\nURIs: http://x.test\nSuites: bookworm\n",
            "bookworm",
            None,
        );
        check("sources.list.d/debian.sources", " broken\n", "bookworm", None);
        check("sources.list.d/debian.save", stanzas, "bookworm", None);
    }
}
