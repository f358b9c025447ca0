//! What a person does with kubectl in the first ten minutes.

use crate::{apply, eventually, kubectl, shared, shell_pod, text, wait_phase};
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

#[test]
fn a_pod_is_applied_seen_read_entered_and_deleted() {
    let cluster = shared();
    apply(cluster, &shell_pod("everyday", "echo started\nexec sleep 3600"));
    wait_phase(cluster, "everyday", "Running");

    let wide = kubectl(cluster, &["get", "nodes,pods", "-A", "-o", "wide"]);
    for expected in [
        "pod/everyday",
        "1/1",
        "Running",
        "node/shared-1",
        "Ready",
        "control-plane",
        "10.77.0.11",
    ] {
        assert!(wide.contains(expected), "{expected} is missing in\n{wide}");
    }
    eventually(cluster, &["logs", "everyday"], |said| said == "started\n");
    let described = eventually(cluster, &["describe", "pod", "everyday"], |said| {
        said.contains("Container started")
    });
    assert!(
        described.contains("Successfully assigned default/everyday to shared-1"),
        "{described}"
    );

    let said = kubectl(
        cluster,
        &["exec", "everyday", "--", "sh", "-c", "echo in $(hostname); id -u"],
    );
    assert_eq!(said, "in everyday\n0\n");
    let failed = cluster
        .kubectl(&["exec", "everyday", "--", "sh", "-c", "exit 7"])
        .unwrap();
    assert_eq!(failed.status.code(), Some(7), "{}", text(&failed.stderr));

    kubectl(cluster, &["delete", "pod", "everyday"]);
    let gone = cluster.kubectl(&["get", "pod", "everyday"]).unwrap();
    assert!(
        text(&gone.stderr).contains("pods \"everyday\" not found"),
        "{}",
        text(&gone.stderr)
    );
}

#[test]
fn exec_carries_standard_input() {
    let cluster = shared();
    apply(cluster, &shell_pod("stdin", "exec sleep 3600"));
    wait_phase(cluster, "stdin", "Running");
    let mut command = cluster.kubectl_command();
    command
        .args(["exec", "-i", "stdin", "--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"there and back\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "there and back\n");
    kubectl(cluster, &["delete", "pod", "stdin"]);
}

#[test]
fn logs_are_followed_until_the_container_ends() {
    let cluster = shared();
    apply(
        cluster,
        &shell_pod("follow", "for i in 1 2 3 4 5; do echo line $i; sleep 1; done"),
    );
    eventually(cluster, &["logs", "follow"], |said| said.contains("line 1"));
    let mut command = cluster.kubectl_command();
    let mut child = command
        .args(["logs", "-f", "follow"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: Vec<String> = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .collect();
    assert!(child.wait().unwrap().success());
    assert_eq!(lines, ["line 1", "line 2", "line 3", "line 4", "line 5"]);
    wait_phase(cluster, "follow", "Succeeded");
    kubectl(cluster, &["delete", "pod", "follow"]);
}

#[test]
fn files_are_copied_ports_forwarded_and_pages_proxied() {
    let cluster = shared();
    apply(
        cluster,
        &shell_pod(
            "web",
            "mkdir -p /www\necho hello > /www/index.html\nexec httpd -f -p 8080 -h /www",
        ),
    );
    wait_phase(cluster, "web", "Running");
    let file = std::env::temp_dir().join(format!("pintle-copy-{}", std::process::id()));
    let content = "a line of some length\n".repeat(20_000);
    std::fs::write(&file, &content).unwrap();
    let path = file.to_str().unwrap().to_owned();
    kubectl(cluster, &["cp", &path, "web:/tmp/copy"]);
    std::fs::remove_file(&file).unwrap();
    kubectl(cluster, &["cp", "web:/tmp/copy", &path]);
    assert!(
        std::fs::read_to_string(&file).unwrap() == content,
        "another file came back"
    );
    std::fs::remove_file(&file).unwrap();

    let page = eventually(
        cluster,
        &["get", "--raw", "/api/v1/namespaces/default/pods/web:8080/proxy/"],
        |said| said == "hello\n",
    );
    assert_eq!(page, "hello\n");

    let mut command = cluster.kubectl_command();
    command
        .args(["port-forward", "pod/web", ":8080"])
        .stdout(Stdio::piped());
    let mut forward = command.spawn().unwrap();
    let mut lines = BufReader::new(forward.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let line = lines
        .find(|line| line.contains("127.0.0.1:"))
        .expect("kubectl says which port it listens on");
    let port = line
        .split(" -> ")
        .next()
        .and_then(|from| from.rsplit_once(':'))
        .unwrap()
        .1;
    let mut stream = std::net::TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = std::io::Read::read_to_string(&mut stream, &mut answer);
    forward.kill().unwrap();
    forward.wait().unwrap();
    assert!(answer.ends_with("hello\n"), "{answer:?}");
    kubectl(cluster, &["delete", "pod", "web"]);
}

#[test]
fn a_program_is_run_once_with_what_is_typed() {
    let cluster = shared();
    let image = qemu::oci_images::reference("demo");
    let mut command = cluster.kubectl_command();
    command
        .args([
            "run",
            "once",
            "--rm",
            "-i",
            "--restart=Never",
            "--image",
            &image,
            "--command",
            "--",
        ])
        .args(["sh", "-c", "cat; exit 5"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"typed words\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stdout);
    assert!(said.contains("typed words\n"), "{said}{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(5), "{said}{}", text(&output.stderr));
}
