//! What the tests share: a small survey, a small model, the program, and what it wrote.
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, OnceLock},
    thread::JoinHandle,
    time::Duration,
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Float64Array, Int64Array,
        RecordBatch,
    },
    compute::concat_batches,
    datatypes::{DataType, Field, Float32Type, Int64Type, Schema},
};
use engine::{clock::clock, s3_server::S3Server};
use object_store::ObjectStoreExt;
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    file::properties::WriterProperties,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::conformance::bucket;

/// Side of the cutouts, in pixels.
pub const SIDE_PX: usize = 32;
/// Pixels of a cutout.
pub const PIXELS: usize = 5 * SIDE_PX * SIDE_PX;

/// The program, as `make build` has made it.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("tests lie in target/<profile>/deps");
    let program = profile.join("hubbleflow");
    assert!(
        program.exists(),
        "{} is not there: run `make build` first",
        program.display()
    );
    program
}

/// One run of the program; nothing of this process's environment reaches it.
pub struct Program(Command);

/// How a run ended.
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Program {
    pub fn new<A: AsRef<str>>(args: impl IntoIterator<Item = A>) -> Self {
        let mut command = Command::new(program());
        command
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self(command).args(args)
    }

    /// `hubbleflow run CATALOG --out OUT` with the small model.
    pub fn run(catalog: impl AsRef<Path>, out: impl AsRef<Path>) -> Self {
        Self::on("run", &text(catalog.as_ref()), &text(out.as_ref()), model())
    }

    /// A command with a catalog, an output and a model.
    pub fn on(command: &str, catalog: &str, out: &str, model: &Path) -> Self {
        Self::new([command, catalog, "--out", out, "--model", &text(model)])
    }

    /// More arguments, separated by blanks.
    pub fn with(self, args: &str) -> Self {
        self.args(args.split_whitespace())
    }

    pub fn args<A: AsRef<str>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.0
            .args(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    /// A variable that need not be text.
    pub fn os_env(mut self, name: &OsStr, value: &OsStr) -> Self {
        self.0.env(name, value);
        self
    }

    /// In this folder.
    pub fn within(mut self, folder: &Path) -> Self {
        self.0.current_dir(folder);
        self
    }

    /// Where the result goes.
    pub fn printing_to(mut self, place: Stdio) -> Self {
        self.0.stdout(place);
        self
    }

    /// Where the S3 server is, and the keys it lets in.
    pub fn at(self, s3: &S3) -> Self {
        self.env("AWS_ENDPOINT_URL", &s3.endpoint())
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .env("AWS_REGION", "us-east-1")
    }

    pub fn start(mut self) -> Child {
        self.0.spawn().expect("the program starts")
    }

    /// The same, where no file may have more than so many times 1024 bytes: as on a disk that is almost full.
    pub fn with_files_of_at_most(self, kb: u32) -> Self {
        let script = format!("trap '' XFSZ; ulimit -f {kb}; exec \"$0\" \"$@\"");
        let mut command = Command::new("/bin/bash");
        command
            .args(["-c", &script])
            .arg(self.0.get_program())
            .args(self.0.get_args())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self(command)
    }

    /// Starts, and reads what it says.
    pub fn runs(self) -> Running {
        let mut child = self.start();
        let said = Arc::new(Mutex::new(String::new()));
        let (lines, all) = (child.stderr.take().expect("it is piped"), said.clone());
        let listener = std::thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                let mut all = all.lock().unwrap();
                all.push_str(&line);
                all.push('\n');
            }
        });
        let listener = Some(listener);
        Running {
            child,
            said,
            listener,
        }
    }

    /// Runs to the end, which must be this exit code.
    pub fn ends(self, code: i32) -> Ended {
        let command = format!("{:?}", self.0);
        end(self.start(), code, &command)
    }
}

/// Waits until something is so; longer than the slowest machine takes.
#[track_caller]
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..6000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("waited two minutes until {what}");
}

/// Sends a signal to a process, as `TERM`.
pub fn signal(process: u32, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &process.to_string()])
        .status();
    assert!(sent.expect("kill can be run").success());
}

/// The processes that a process has started.
pub fn children(process: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("processes can be listed");
    let ids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // The parent is the second field after the name, which is in brackets and may hold anything.
    let parent = |id: &u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        stat.rsplit_once(") ")?
            .1
            .split(' ')
            .nth(1)?
            .parse::<u32>()
            .ok()
    };
    let mut children: Vec<u32> = ids.filter(|id| parent(id) == Some(process)).collect();
    children.sort_unstable();
    children
}

/// A process whose messages are read as it goes on; it is killed with its test.
pub struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
    listener: Option<JoinHandle<()>>,
}

impl Running {
    /// Whether it has said this.
    pub fn has_said(&self, words: &str) -> bool {
        self.said.lock().unwrap().contains(words)
    }

    /// Waits until it says this.
    #[track_caller]
    pub fn until_it_says(&self, words: &str) {
        let said = || self.said.lock().unwrap().clone();
        for _ in 0..6000 {
            if said().contains(words) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("waited two minutes for {words:?} in:\n{}", said());
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// Kills it, unless it has ended.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is ours");
    }

    /// Waits a while for its end; whether it has come.
    pub fn is_over_within(&mut self, patience: Duration) -> bool {
        let until = clock() + patience;
        while !self.is_over() && clock() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.is_over()
    }

    pub fn is_over(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("it can be waited for")
            .is_some()
    }

    /// Waits for its end, which must be with this exit code.
    #[track_caller]
    pub fn ends(self, code: i32) -> Ended {
        let ended = self.ended();
        assert_eq!(ended.code, code, "{}{}", ended.stdout, ended.stderr);
        ended
    }

    /// Waits for its end: the exit code, or the signal that killed it as a negative number.
    pub fn ended(mut self) -> Ended {
        let mut stdout = String::new();
        let pipe = self.child.stdout.as_mut().expect("it is piped");
        pipe.read_to_string(&mut stdout)
            .expect("the program prints UTF-8");
        let status = self.child.wait().expect("it can be waited for");
        let listener = self.listener.take().expect("it ends once");
        listener.join().expect("the program logs UTF-8");
        let signal = status.signal().unwrap_or(0);
        Ended {
            code: status.code().unwrap_or(-signal),
            stdout,
            stderr: self.said.lock().unwrap().clone(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Where it has ended already there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a process, whose exit code must be this one.
pub fn end(child: Child, code: i32, what: &str) -> Ended {
    let output = child
        .wait_with_output()
        .expect("the program can be waited for");
    let ended = Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("the program prints UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("the program logs UTF-8"),
    };
    assert_eq!(
        ended.code, code,
        "exit code of {what}\n{}{}",
        ended.stdout, ended.stderr
    );
    ended
}

impl Ended {
    /// The messages hold all of these.
    #[track_caller]
    pub fn says(&self, words: &[&str]) {
        for word in words {
            assert!(
                self.stderr.contains(word),
                "no {word:?} in:\n{}",
                self.stderr
            );
        }
    }

    /// What was printed as JSON, last.
    pub fn json(&self) -> Value {
        let last = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(last)
            .unwrap_or_else(|error| panic!("{error}: the last line is no JSON:\n{}", self.stdout))
    }
}

/// A path as an argument.
pub fn text(path: &Path) -> String {
    path.to_str().expect("paths of tests are UTF-8").to_owned()
}

/// A folder for what all tests share. Nobody removes it at the end, so the next test binary does.
fn home() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| {
        let homes = Path::new(env!("CARGO_TARGET_TMPDIR")).join("promises");
        for old in fs::read_dir(&homes).into_iter().flatten().flatten() {
            if !Path::new("/proc").join(old.file_name()).exists() {
                // Another test binary may have been faster.
                let _ = fs::remove_dir_all(old.path());
            }
        }
        let home = homes.join(std::process::id().to_string());
        fs::create_dir_all(&home).expect("a folder can be made");
        home
    })
}

/// A folder of its own for a test.
pub fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder can be made")
}

fn made(cell: &'static OnceLock<PathBuf>, name: &str, args: &[&str]) -> &'static Path {
    cell.get_or_init(|| {
        let path = home().join(name);
        let place = text(&path);
        Program::new(
            args.iter()
                .map(|&arg| if arg == "HERE" { place.as_str() } else { arg }),
        )
        .ends(0);
        path
    })
}

/// A model of one block.
pub fn model() -> &'static Path {
    static MODEL: OnceLock<PathBuf> = OnceLock::new();
    made(&MODEL, "model", &["model", "init", "HERE", "--depth", "1"])
}

/// Another, with other weights.
pub fn other_model() -> &'static Path {
    static MODEL: OnceLock<PathBuf> = OnceLock::new();
    made(
        &MODEL,
        "other-model",
        &["model", "init", "HERE", "--depth", "1", "--seed", "other"],
    )
}

/// A survey of three drops, the last of spec-z alone; with corrections, withdrawals and bad rows.
pub fn survey() -> &'static Path {
    static SURVEY: OnceLock<PathBuf> = OnceLock::new();
    let flags = "sample HERE --px 32 --galaxies 300 --drops 2 --corrections 0.1 --withdrawals 0.05 --bad-rows 0.05 \
                 --without-spec-z 0.3 --specz-drops 1";
    made(
        &SURVEY,
        "survey",
        &flags.split_whitespace().collect::<Vec<_>>(),
    )
}

/// A small survey in which much happens: four drops and one of spec-z alone; corrections, withdrawals and bad rows.
pub fn eventful_survey() -> &'static Path {
    static SURVEY: OnceLock<PathBuf> = OnceLock::new();
    let flags = "sample HERE --px 32 --galaxies 120 --drops 4 --corrections 0.2 --withdrawals 0.1 --bad-rows 0.05 \
                 --without-spec-z 0.3 --specz-drops 1 --seed 7";
    made(
        &SURVEY,
        "eventful-survey",
        &flags.split_whitespace().collect::<Vec<_>>(),
    )
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    for (name, bytes) in tree(from) {
        put(to.join(name), bytes);
    }
}

/// Writes a file and the folders above it.
pub fn put(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().expect("a file lies in a folder"))
        .expect("folders can be made");
    fs::write(path, bytes).expect("a file can be written");
}

/// Names of files, and their bytes.
pub type Tree = BTreeMap<String, Vec<u8>>;

/// The files below a folder: their names, with slashes, and their bytes. A folder that is not there has none.
pub fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let Ok(entries) = fs::read_dir(&next) else {
            continue;
        };
        for path in entries.map(|entry| entry.expect("a folder can be listed").path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = text(
                    path.strip_prefix(folder)
                        .expect("it was found below the folder"),
                );
                files.insert(name, fs::read(&path).expect("a file can be read"));
            }
        }
    }
    files
}

/// What readers see of an output: all but its ledger.
pub fn committed(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = tree(out);
    files.retain(|name, _| !name.starts_with("_hubbleflow/"));
    files
}

/// What readers see of an output, and its metrics.
pub fn answer(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = committed(out);
    files.extend(metrics_files(out));
    files
}

/// The metrics files of an output.
pub fn metrics_files(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = tree(out);
    files.retain(|name, _| name.starts_with("_hubbleflow/metrics/"));
    files
}

/// Two trees are the same to the byte; says which files are not.
#[track_caller]
pub fn assert_same(left: &BTreeMap<String, Vec<u8>>, right: &BTreeMap<String, Vec<u8>>) {
    let names = |tree: &BTreeMap<String, Vec<u8>>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(left), names(right), "the files are not the same");
    let other: Vec<_> = left
        .iter()
        .filter(|(name, bytes)| right[*name] != **bytes)
        .map(|(name, _)| name)
        .collect();
    assert!(other.is_empty(), "files with other bytes: {other:?}");
}

/// The ledger's entries, in order; also of a run that is under way, whose next entry may be half written beside them.
pub fn ledger(out: &Path) -> Vec<Value> {
    let folder = out.join("_hubbleflow/ledger");
    let Ok(listed) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut entries: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
    entries.retain(|entry| entry.extension().is_some_and(|kind| kind == "json"));
    entries.sort();
    let read = |entry| serde_json::from_slice(&fs::read(entry).unwrap());
    let read = |entry| read(entry).expect("an entry is JSON");
    entries.into_iter().map(read).collect()
}

/// The drops of the ledger's entries, in order.
pub fn drops(out: &Path) -> Vec<String> {
    ledger(out)
        .iter()
        .map(|entry| entry["drop"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// The rows of all Parquet files below a folder, in the order of their names; none where there is no file.
pub fn read(folder: &Path) -> Option<RecordBatch> {
    let files = tree(folder)
        .into_keys()
        .filter(|name| name.ends_with(".parquet"));
    let batches: Vec<RecordBatch> = files
        .flat_map(|name| read_file(&folder.join(name)))
        .collect();
    let first = batches.first()?;
    Some(
        concat_batches(&first.schema(), &batches)
            .expect("files of one folder have the same columns"),
    )
}

fn read_file(path: &Path) -> Vec<RecordBatch> {
    let file = fs::File::open(path).expect("a file can be read");
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("it is Parquet");
    let schema = builder.schema().clone();
    let mut batches: Vec<_> = builder
        .build()
        .expect("it can be read")
        .map(|batch| batch.expect("rows"))
        .collect();
    if batches.is_empty() {
        batches.push(RecordBatch::new_empty(schema));
    }
    batches
}

/// Rows that must be there.
#[track_caller]
pub fn rows(folder: impl AsRef<Path>) -> RecordBatch {
    let folder = folder.as_ref();
    read(folder).unwrap_or_else(|| panic!("no Parquet file below {}", folder.display()))
}

#[track_caller]
pub fn column<'a>(rows: &'a RecordBatch, name: &str) -> &'a ArrayRef {
    rows.column_by_name(name)
        .unwrap_or_else(|| panic!("no column {name} in {:?}", rows.schema()))
}

/// Ids of whatever type, as text; null as `-`.
pub fn ids(rows: &RecordBatch) -> Vec<String> {
    let ids = column(rows, "object_id");
    (0..rows.num_rows())
        .map(|row| {
            if ids.is_null(row) {
                "-".to_owned()
            } else {
                arrow::util::display::array_value_to_string(ids, row).unwrap()
            }
        })
        .collect()
}

pub fn floats(rows: &RecordBatch, name: &str) -> Vec<Option<f32>> {
    column(rows, name)
        .as_primitive::<Float32Type>()
        .iter()
        .collect()
}

pub fn strings(rows: &RecordBatch, name: &str) -> Vec<String> {
    column(rows, name)
        .as_string::<i32>()
        .iter()
        .map(|text| text.unwrap_or("-").to_owned())
        .collect()
}

/// The predictions below a folder, by id: their bits.
pub fn z_phot(folder: impl AsRef<Path>) -> BTreeMap<String, Option<u32>> {
    let rows = rows(folder);
    ids(&rows)
        .into_iter()
        .zip(
            floats(&rows, "z_phot")
                .into_iter()
                .map(|z| z.map(f32::to_bits)),
        )
        .collect()
}

/// Good galaxies with these ids; pixels and magnitudes are a function of the id's place.
pub fn galaxies(object_id: ArrayRef) -> RecordBatch {
    let count = object_id.len();
    let place = |scale: f64| (0..count).map(move |row| row as f64 * scale);
    let pixels: Float32Array = (0..count * PIXELS)
        .map(|pixel| Some((pixel as f32 * 0.37).sin()))
        .collect();
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("object_id".into(), object_id),
        (
            "ra".into(),
            Arc::new(
                place(0.25)
                    .map(|place| 150.0 + place)
                    .collect::<Float64Array>(),
            ),
        ),
        (
            "dec".into(),
            Arc::new(
                place(0.125)
                    .map(|place| place - 10.0)
                    .collect::<Float64Array>(),
            ),
        ),
    ];
    for (band, mag) in ["u", "g", "r", "i", "z"]
        .iter()
        .zip([20.0, 18.5, 17.5, 17.0, 16.5])
    {
        let mags: Float32Array = place(0.01).map(|place| (mag + place) as f32).collect();
        columns.push((format!("mag_{band}"), Arc::new(mags)));
    }
    columns.push((
        "z_spec".into(),
        Arc::new(
            place(0.001)
                .map(|place| (0.1 + place) as f32)
                .collect::<Float32Array>(),
        ),
    ));
    columns.push(("cutout".into(), cutouts(pixels)));
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap()
}

/// Galaxies with the ids 1, 2, …
pub fn some_galaxies(count: i64) -> RecordBatch {
    galaxies(Arc::new(Int64Array::from_iter_values(1..=count)))
}

/// Pixels, cutout after cutout, as a column.
pub fn cutouts(pixels: Float32Array) -> ArrayRef {
    let item = Arc::new(Field::new("element", DataType::Float32, false));
    Arc::new(FixedSizeListArray::try_new(item, PIXELS as i32, Arc::new(pixels), None).unwrap())
}

/// The rows with another column, in the place of one of that name or at the end.
pub fn with(rows: &RecordBatch, name: &str, values: ArrayRef) -> RecordBatch {
    let kept = without(rows, name);
    let fields = kept
        .schema()
        .fields()
        .iter()
        .cloned()
        .chain([Arc::new(Field::new(name, values.data_type().clone(), true))])
        .collect::<Vec<_>>();
    let columns = kept.columns().iter().cloned().chain([values]).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// The rows without a column.
pub fn without(rows: &RecordBatch, name: &str) -> RecordBatch {
    let kept: Vec<usize> = (0..rows.num_columns())
        .filter(|&column| rows.schema().field(column).name() != name)
        .collect();
    rows.project(&kept).unwrap()
}

/// A column with the values at some rows replaced.
pub fn changed(rows: &RecordBatch, name: &str, changes: &[(usize, Option<f32>)]) -> RecordBatch {
    let mut values = floats(rows, name);
    changes.iter().for_each(|&(row, value)| values[row] = value);
    with(rows, name, Arc::new(Float32Array::from(values)))
}

/// Ids as a column.
pub fn int64(ids: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(
        ids.into_iter()
            .collect::<arrow::array::PrimitiveArray<Int64Type>>(),
    )
}

/// Writes rows as a Parquet file with row groups of so many rows.
pub fn write(path: impl AsRef<Path>, rows: &RecordBatch, group_rows: usize) {
    put(path, parquet(rows, group_rows));
}

/// The same in memory.
pub fn parquet(rows: &RecordBatch, group_rows: usize) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group_rows))
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
    bytes
}

const KEY: &str = "hubbleflow";
const SECRET: &str = "hubbleflow-test";

/// An S3 server with a bucket `sky`, whose objects are files.
pub struct S3 {
    server: S3Server,
    root: TempDir,
    runtime: tokio::runtime::Runtime,
}

impl S3 {
    pub fn start() -> Self {
        let (runtime, root) = (tokio::runtime::Runtime::new().unwrap(), folder());
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let server = runtime
            .block_on(S3Server::start(root.path(), address, KEY, SECRET))
            .unwrap();
        server.create_bucket("sky").unwrap();
        Self {
            server,
            root,
            runtime,
        }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// Writes an object through the server, which gives it an ETag of its own.
    pub fn put(&self, key: &str, bytes: Vec<u8>) {
        let bucket = bucket("s3://sky", &self.endpoint(), KEY, SECRET);
        let key = bucket.path(key).unwrap();
        let put = bucket.store.put(&key, bytes.into());
        self.runtime.block_on(put).unwrap();
    }

    /// Where the bucket's objects are.
    pub fn bucket(&self) -> PathBuf {
        self.root.path().join("sky")
    }
}
