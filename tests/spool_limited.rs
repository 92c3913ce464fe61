//! The spool where files have a size limit. Alone in its process: a child that another test starts holds, until it runs, the
//! folder that this process held.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

#[expect(dead_code, reason = "other tests use the rest")]
#[path = "spool/folder.rs"]
mod folder;

use folder::{Folder, line, publish};
use mokasim::bus::Bus as _;
use mokasim::wire::TopicId;
use std::fs;

#[test]
fn a_write_that_is_cut_short_leaves_whole_lines_and_goes_on_where_they_end() {
    // The limit is the process's, so this test does its work in a child of its own.
    if std::env::var_os("FILE_SIZE_LIMITED").is_none() {
        let limited = "trap '' XFSZ; ulimit -f 40; exec \"$0\" \"$@\"";
        let this = "a_write_that_is_cut_short_leaves_whole_lines_and_goes_on_where_they_end";
        let mut child = std::process::Command::new("sh");
        child.args(["-c", limited]).arg(std::env::current_exe().unwrap()).args(["--exact", this]);
        let output = child.env("FILE_SIZE_LIMITED", "").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
        return;
    }
    let mut folder = Folder::roomy();
    for n in 0..400 {
        publish(folder.spool(), TopicId(0), n, 700).unwrap();
    }
    let mut found = String::new();
    for limit_hit in 0.. {
        folder.write();
        let content = fs::read_to_string(folder.path("telemetry.a")).unwrap();
        assert!(content.ends_with('\n') && content.len() <= 40 * 1024, "{} bytes", content.len());
        found += &content;
        if folder.spool().status().connected {
            assert!(limit_hit > 5);
            break;
        }
        fs::remove_file(folder.path("telemetry.a")).unwrap();
    }
    assert!(found == (0..400).map(|n| line(TopicId(0), n, 700)).collect::<String>());
}
