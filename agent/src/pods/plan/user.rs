//! Who runs a container: the pod's wish, else the image's, with names looked up in the image's own files.

use super::Refusal;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use sandbox::User;

/// The image's /etc/passwd and /etc/group, empty where it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// `name:x:uid:gid:…` lines.
    pub passwd: String,
    /// `name:x:gid:members` lines.
    pub group: String,
}

/// Decides for one container whose image says `image_user`, in a pod that people call `pod`.
pub fn user(
    pod: &str,
    spec: &PodSpec,
    container: &Container,
    image_user: &str,
    names: &Names,
) -> Result<User, Refusal> {
    let own = container.security_context.as_ref();
    let pods = spec.security_context.as_ref();
    let wish = own
        .and_then(|own| own.run_as_user)
        .or(pods.and_then(|pods| pods.run_as_user));
    let group_wish = own
        .and_then(|own| own.run_as_group)
        .or(pods.and_then(|pods| pods.run_as_group));
    let (user_text, group_text) = match image_user.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (image_user, None),
    };
    let user_text = wish.map_or_else(|| user_text.to_owned(), |uid| uid.to_string());
    // The image's group belongs to the image's user.
    let group_text = group_wish
        .map(|gid| gid.to_string())
        .or(group_text.filter(|_| wish.is_none()).map(str::to_owned));
    let extra = pods
        .and_then(|pods| pods.supplemental_groups.as_ref())
        .into_iter()
        .flatten();
    let extra = extra.copied().chain(pods.and_then(|pods| pods.fs_group));
    let wanted = Wanted {
        user: &user_text,
        group: group_text.as_deref(),
        groups: extra.filter_map(|gid| u32::try_from(gid).ok()).collect(),
        groups_of_image: pods.and_then(|pods| pods.supplemental_groups_policy.as_deref()) != Some("Strict"),
    };
    let user = look_up(wanted, names)?;
    let must_not_be_root = own
        .and_then(|own| own.run_as_non_root)
        .or(pods.and_then(|pods| pods.run_as_non_root));
    if must_not_be_root == Some(true) {
        let of = format!("(pod: {pod:?}, container: {})", container.name);
        let image_name = image_user.split(':').next().unwrap_or_default();
        is_not_root(wish, image_name, user.uid).map_err(|why| Refusal(format!("{why} {of}")))?;
    }
    Ok(user)
}

/// Who is wanted, by names or numbers.
pub struct Wanted<'a> {
    /// Name or number; empty for root.
    pub user: &'a str,
    /// Name or number; nothing for the user's own.
    pub group: Option<&'a str>,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Whether those come with it whose member the image says the user is.
    pub groups_of_image: bool,
}

/// The numbers, out of the image's files.
pub fn look_up(wanted: Wanted<'_>, names: &Names) -> Result<User, Refusal> {
    let Wanted {
        user: user_text,
        group: group_text,
        mut groups,
        groups_of_image,
    } = wanted;
    let entry = names.passwd.lines().find_map(|line| passwd_entry(line, user_text));
    let uid = match (&entry, user_text.parse::<u32>()) {
        (_, Ok(uid)) => uid,
        (Some(entry), Err(_)) => entry.uid,
        (None, Err(_)) if user_text.is_empty() => 0,
        (None, Err(_)) => {
            return Err(Refusal(format!(
                "the image has no user {user_text:?} in its /etc/passwd"
            )));
        }
    };
    let gid = match group_text {
        Some(text) => group(text, names)?,
        None => entry.as_ref().map_or(0, |entry| entry.gid),
    };
    if let Some(entry) = entry.filter(|_| groups_of_image) {
        groups.extend(names.group.lines().filter_map(|line| membership(line, &entry.name)));
    }
    groups.sort_unstable();
    groups.dedup();
    Ok(User { uid, gid, groups })
}

/// Upstream: pkg/kubelet/kuberuntime/security_context.go, verifyRunAsNonRoot. A name in the image proves nothing.
fn is_not_root(wish: Option<i64>, image_name: &str, uid: u32) -> Result<(), String> {
    match wish {
        Some(0) => Err("container's runAsUser breaks non-root policy".to_owned()),
        Some(_) => Ok(()),
        None if !image_name.is_empty() && image_name.parse::<u32>().is_err() => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({image_name}), cannot verify user is non-root"
        )),
        None if uid == 0 => Err("container has runAsNonRoot and image will run as root".to_owned()),
        None => Ok(()),
    }
}

struct Entry {
    name: String,
    uid: u32,
    gid: u32,
}

/// The entry for `user`, a name or a number.
fn passwd_entry(line: &str, user: &str) -> Option<Entry> {
    let mut fields = line.split(':');
    let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let found = name == user || uid == user || (user.is_empty() && uid == "0");
    found.then(|| {
        Some(Entry {
            name: name.to_owned(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
        })
    })?
}

fn group(text: &str, names: &Names) -> Result<u32, Refusal> {
    if let Ok(gid) = text.parse() {
        return Ok(gid);
    }
    let named = |line: &str| {
        let mut fields = line.split(':');
        (fields.next() == Some(text)).then(|| fields.nth(1)?.parse().ok())?
    };
    let found = names.group.lines().find_map(named);
    found.ok_or_else(|| Refusal(format!("the image has no group {text:?} in its /etc/group")))
}

fn membership(line: &str, user: &str) -> Option<u32> {
    let fields: Vec<&str> = line.split(':').collect();
    let members = fields.get(3)?;
    members
        .split(',')
        .any(|member| member == user)
        .then(|| fields.get(2)?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn decide(context: Value, image_user: &str) -> Result<(u32, u32, Vec<u32>), String> {
        let spec: PodSpec =
            serde_json::from_value(json!({"securityContext": context, "containers": [{"name": "a"}]})).unwrap();
        let names = Names {
            passwd: "root:x:0:0:root:/root:/bin/sh\nnginx:x:101:102::/:/bin/false\n".to_owned(),
            group: "root:x:0:\nnginx:x:102:\nssl:x:110:nginx,other\n".to_owned(),
        };
        let user =
            user("web_default(u1)", &spec, &spec.containers[0], image_user, &names).map_err(|refusal| refusal.0)?;
        Ok((user.uid, user.gid, user.groups))
    }

    #[test]
    fn wish_comes_before_image_and_names_are_looked_up() {
        let cases = [
            (json!({}), "", (0, 0, vec![])),
            (json!({}), "nginx", (101, 102, vec![110])),
            (json!({}), "nginx:ssl", (101, 110, vec![110])),
            (json!({}), "1000:1000", (1000, 1000, vec![])),
            (json!({"runAsUser": 101}), "root:root", (101, 102, vec![110])),
            (json!({"runAsUser": 5, "runAsGroup": 6}), "", (5, 6, vec![])),
            (
                json!({"fsGroup": 9, "supplementalGroups": [8, 9]}),
                "",
                (0, 0, vec![8, 9]),
            ),
        ];
        for (context, image, expected) in cases {
            assert_eq!(decide(context.clone(), image), Ok(expected), "{context} {image}");
        }
    }

    #[test]
    fn root_and_unknown_names_are_refused_in_a_sentence() {
        let cases = [
            (
                json!({"runAsNonRoot": true}),
                "",
                "container has runAsNonRoot and image will run as root",
            ),
            (
                json!({"runAsNonRoot": true, "runAsUser": 0}),
                "5",
                "container's runAsUser breaks non-root policy",
            ),
            (
                json!({"runAsNonRoot": true}),
                "nginx",
                "container has runAsNonRoot and image has non-numeric user (nginx), cannot verify user is non-root",
            ),
        ];
        for (context, image, sentence) in cases {
            let sentence = format!("{sentence} (pod: \"web_default(u1)\", container: a)");
            assert_eq!(decide(context, image), Err(sentence));
        }
        assert!(decide(json!({"runAsNonRoot": true}), "101").is_ok());
        assert!(decide(json!({}), "ghost").unwrap_err().contains("no user \"ghost\""));
        assert!(
            decide(json!({}), "0:ghosts")
                .unwrap_err()
                .contains("no group \"ghosts\"")
        );
    }
}
