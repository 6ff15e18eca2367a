//! Which operating system this is, and how people install packages on it.

use std::fs;

use crate::needs::Package;

/// An operating system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum System {
    /// Debian, and its release's name.
    Debian(String),
    /// Ubuntu, and its release's name.
    Ubuntu(String),
    /// Others that use apt.
    Apt,
    /// Fedora and its relatives.
    Fedora,
    /// Arch Linux and its relatives.
    Arch,
    /// macOS.
    Mac,
    /// Any other.
    Other,
}

impl System {
    /// This machine's.
    pub fn here() -> System {
        if cfg!(target_os = "macos") {
            return System::Mac;
        }
        System::from_release(&fs::read_to_string("/etc/os-release").unwrap_or_default())
    }

    /// Reads os-release.
    fn from_release(text: &str) -> System {
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.unwrap_or_default().trim_matches('"').to_owned()
        };
        let names = format!("{} {}", field("ID"), field("ID_LIKE"));
        match names.split_whitespace().find(|name| ["debian", "ubuntu", "fedora", "arch"].contains(name)) {
            Some(name) if field("ID") != name && ["debian", "ubuntu"].contains(&name) => System::Apt,
            Some("debian") => System::Debian(field("VERSION_CODENAME")),
            Some("ubuntu") => System::Ubuntu(field("VERSION_CODENAME")),
            Some("fedora") => System::Fedora,
            Some("arch") => System::Arch,
            _ => System::Other,
        }
    }

    /// A package's name here.
    pub fn package(&self, package: &Package) -> &'static str {
        match self {
            System::Debian(_) | System::Ubuntu(_) | System::Apt => package.debian,
            System::Fedora => package.fedora,
            System::Arch | System::Other => package.arch,
            System::Mac => package.brew,
        }
    }

    /// How a person installs packages here; none when we do not know.
    pub fn installer(&self) -> Option<&'static str> {
        match self {
            System::Debian(_) | System::Ubuntu(_) | System::Apt => Some("sudo apt-get install"),
            System::Fedora => Some("sudo dnf install"),
            System::Arch => Some("sudo pacman -S"),
            System::Mac => Some("brew install"),
            System::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_are_known_by_their_release_file() {
        for (text, system) in [
            ("ID=debian\nVERSION_CODENAME=bookworm\n", System::Debian("bookworm".into())),
            ("ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n", System::Ubuntu("noble".into())),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_CODENAME=wilma\n", System::Apt),
            ("NAME=\"Fedora Linux\"\nID=fedora\n", System::Fedora),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", System::Fedora),
            ("ID=manjaro\nID_LIKE=arch\n", System::Arch),
            ("ID=nixos\n", System::Other),
            ("", System::Other),
        ] {
            assert_eq!(System::from_release(text), system, "{text}");
        }
    }
}
