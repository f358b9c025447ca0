//! An NFS server on a port of the host's loopback: nfs-ganesha of the tools tree, as a plain program. Its files are in memory.

use qemu::wait;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// It exports `/data`, in version 4 alone, to whoever asks.
pub struct Server {
    pub port: u16,
    process: Child,
    _folder: tempfile::TempDir,
}

impl Server {
    pub fn start(tools: &Path) -> Self {
        let program = tools.join("usr/bin/ganesha.nfsd");
        assert!(
            program.exists(),
            "{} is missing: the tools tree is an old one",
            program.display()
        );
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let config = folder.path().join("config");
        std::fs::write(&config, text(tools, folder.path(), port)).unwrap();
        std::fs::create_dir(folder.path().join("recovery")).unwrap();
        let log = folder.path().join("log");
        let libraries =
            ["usr/lib/x86_64-linux-gnu", "usr/lib/ganesha"].map(|path| tools.join(path).display().to_string());
        let mut command = Command::new(tools.join("lib64/ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(libraries.join(":")).arg(&program);
        command
            .args(["-F", "-N", "NIV_EVENT", "-f"])
            .arg(&config)
            .arg("-L")
            .arg(&log);
        command.arg("-p").arg(folder.path().join("pid")).stdin(Stdio::null());
        linux::lifeline::die_with_thread(&mut command);
        let process = command.spawn().unwrap();
        let listens = wait::until("the NFS server to listen", crate::DEADLINE, || {
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(|error| format!("{error}; it said {}", said()))
        });
        listens.unwrap_or_else(|why| panic!("{why:#}"));
        Self {
            port,
            process,
            _folder: folder,
        }
    }

    /// From now on it takes what it is sent, and answers nothing.
    pub fn hang(&self) {
        self.signal(19);
    }

    /// Answers again.
    pub fn go_on(&self) {
        self.signal(18);
    }

    /// By its number on Linux, man 7 signal.
    fn signal(&self, number: i32) {
        let process = linux::pidfd::open(self.process.id()).unwrap();
        linux::pidfd::signal(process, number).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// man 8 ganesha-core-config and its neighbours. Users are numbers on both sides; no portmapper, no Kerberos, no D-Bus.
fn text(tools: &Path, folder: &Path, port: u16) -> String {
    let plugins = tools.join("usr/lib/x86_64-linux-gnu/ganesha");
    let recovery = folder.join("recovery");
    format!(
        "NFS_CORE_PARAM {{ NFS_Port = {port}; Bind_addr = 127.0.0.1; Protocols = 4; Plugins_Dir = {plugins:?};
            Enable_NLM = false; Enable_RQUOTA = false; allow_set_io_flusher_fail = true; }}
        NFSV4 {{ Graceless = true; RecoveryBackend = \"fs\"; RecoveryRoot = {recovery:?};
            UseGetpwnam = true; DomainName = \"nfs.test\"; Only_Numeric_Owners = true; }}
        MEM {{ Inode_Size = 65536; }}
        EXPORT {{ Export_Id = 1; Path = \"/data\"; Pseudo = \"/data\"; Protocols = 4; Transports = TCP; Access_Type = RW;
            Squash = No_Root_Squash; SecType = sys; PrivilegedPort = false; FSAL {{ Name = MEM; }} }}
        "
    )
}
