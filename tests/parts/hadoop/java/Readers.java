import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.PrivilegedExceptionAction;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Options;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.hdfs.DistributedFileSystem;
import org.apache.hadoop.hdfs.client.HdfsDataInputStream;
import org.apache.hadoop.hdfs.protocol.LocatedBlock;
import org.apache.hadoop.security.UserGroupInformation;

/**
 * Reads a published config.json at full speed in several threads, opening and closing a stream each time, and checks
 * every read: a complete document with an unexpired credential for each requested registry. Counts apart the reads that
 * HDFS cut off because it deleted the blocks of the opened file, which had been replaced.
 *
 * <p>{@code Readers URI THREADS REGISTRY...}. Commands on standard input, each answered by one line of JSON: {@code
 * count}, and {@code set-back SECONDS}, which replaces the file with an older version that is valid for that long, by
 * one atomic rename. Exits at the end of its input.
 */
public final class Readers {
  private static final int MOST_EXAMPLES = 5;
  private static final ObjectMapper JSON =
      new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  private enum Kind {
    MISSING,
    TORN,
    POISONOUS,
    EXPIRED,
    OTHER
  }

  private static final class Bad extends Exception {
    private static final long serialVersionUID = 1;
    final transient Kind kind;

    Bad(Kind kind, String message) {
      super(message);
      this.kind = kind;
    }
  }

  private static final class Replaced extends IOException {
    private static final long serialVersionUID = 1;

    Replaced(IOException cause) {
      super(cause);
    }
  }

  private final Path path;
  private final List<String> registries;
  private final AtomicLong reads = new AtomicLong();
  private final AtomicLong replaced = new AtomicLong();
  private final Map<Kind, AtomicLong> bad = new LinkedHashMap<>();
  private final ConcurrentLinkedQueue<String> examples = new ConcurrentLinkedQueue<>();

  /** Every valid content seen, and the second in which its first credential expires. */
  private final Map<ByteBuffer, Long> versions = new ConcurrentHashMap<>();

  private Readers(Path path, List<String> registries) {
    this.path = path;
    this.registries = registries;
    for (Kind kind : Kind.values()) {
      bad.put(kind, new AtomicLong());
    }
  }

  public static void main(String[] args) throws IOException, InterruptedException {
    Readers readers = new Readers(new Path(args[0]), List.of(args).subList(2, args.length));
    FileSystem files = readers.path.getFileSystem(new Configuration());
    for (int i = 0; i < Integer.parseInt(args[1]); i++) {
      Thread thread = new Thread(() -> readers.readForEver(files));
      thread.setDaemon(true);
      thread.start();
    }
    readers.obey();
  }

  private void readForEver(FileSystem files) {
    while (true) {
      try {
        check(read(files));
      } catch (Bad e) {
        note(e.kind, e.getMessage());
      } catch (Replaced e) {
        replaced.incrementAndGet();
      } catch (FileNotFoundException e) {
        note(Kind.MISSING, e.toString());
      } catch (IOException | RuntimeException e) {
        note(Kind.OTHER, e.toString());
      }
      reads.incrementAndGet();
    }
  }

  private byte[] read(FileSystem files) throws IOException {
    try (HdfsDataInputStream in = (HdfsDataInputStream) files.open(path)) {
      try {
        return in.readAllBytes();
      } catch (IOException e) {
        throw isReplaced(files, in) ? new Replaced(e) : e;
      }
    }
  }

  /** Whether the file at {@code path} has other blocks than the opened one. */
  private boolean isReplaced(FileSystem files, HdfsDataInputStream opened) {
    try (HdfsDataInputStream current = (HdfsDataInputStream) files.open(path)) {
      return !blocks(current).equals(blocks(opened));
    } catch (IOException e) {
      return false;
    }
  }

  private static List<Long> blocks(HdfsDataInputStream in) throws IOException {
    List<Long> ids = new ArrayList<>();
    for (LocatedBlock block : in.getAllBlocks()) {
      ids.add(block.getBlock().getBlockId());
    }
    return ids;
  }

  private void check(byte[] bytes) throws Bad {
    Long end = versions.get(ByteBuffer.wrap(bytes));
    if (end == null) {
      end = end(bytes);
      versions.put(ByteBuffer.wrap(bytes), end);
    }
    if (end <= now()) {
      throw new Bad(Kind.EXPIRED, "a credential ended at " + end);
    }
  }

  private long end(byte[] bytes) throws Bad {
    JsonNode document;
    try {
      document = JSON.readTree(bytes);
    } catch (JsonProcessingException e) {
      throw new Bad(Kind.TORN, bytes.length + " bytes: not JSON");
    } catch (IOException e) {
      throw new Bad(Kind.OTHER, e.toString());
    }
    if (document == null || document.isMissingNode()) {
      throw new Bad(Kind.TORN, bytes.length + " bytes: empty");
    }
    JsonNode auths = document.path("auths");
    for (String registry : registries) {
      if (!auths.has(registry)) {
        throw new Bad(Kind.POISONOUS, "no entry for " + registry);
      }
    }
    long end = Long.MAX_VALUE;
    for (Map.Entry<String, JsonNode> entry : JSON.convertValue(auths, Entries.class).entrySet()) {
      if (!entry.getValue().path("auth").isTextual()) {
        throw new Bad(Kind.POISONOUS, "no auth for " + entry.getKey());
      }
      end = Math.min(end, statedEnd(entry.getValue().get("auth").asText()));
    }
    return end;
  }

  private static final class Entries extends LinkedHashMap<String, JsonNode> {
    private static final long serialVersionUID = 1;
  }

  /** The expiry, in seconds, inside an ECR password; other passwords never expire. */
  private static long statedEnd(String auth) {
    try {
      String userAndPassword = new String(Base64.getDecoder().decode(auth), StandardCharsets.UTF_8);
      String password = userAndPassword.substring(userAndPassword.indexOf(':') + 1);
      JsonNode end = JSON.readTree(Base64.getDecoder().decode(password)).path("expiration");
      return end.isNumber() ? end.asLong() : Long.MAX_VALUE;
    } catch (IOException | IllegalArgumentException e) {
      return Long.MAX_VALUE;
    }
  }

  private void note(Kind kind, String example) {
    bad.get(kind).incrementAndGet();
    if (examples.size() < MOST_EXAMPLES) {
      examples.add(kind + ": " + example);
    }
  }

  private void obey() throws IOException, InterruptedException {
    BufferedReader commands =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = commands.readLine(); line != null; line = commands.readLine()) {
      String[] words = line.split(" ");
      Map<String, Object> answer = new LinkedHashMap<>();
      if (words[0].equals("set-back")) {
        answer.put("done", setBack(Long.parseLong(words[1])));
      } else {
        count(answer);
      }
      System.out.println(JSON.writeValueAsString(answer));
      System.out.flush();
    }
  }

  private void count(Map<String, Object> answer) {
    answer.put("reads", reads.get());
    answer.put("versions", versions.size());
    answer.put("replaced", replaced.get());
    Map<String, Long> byKind = new LinkedHashMap<>();
    bad.forEach((kind, number) -> byKind.put(kind.name().toLowerCase(), number.get()));
    answer.put("bad", byKind);
    answer.put("examples", examples);
  }

  private boolean setBack(long seconds) throws IOException, InterruptedException {
    Map.Entry<ByteBuffer, Long> oldest = null;
    for (Map.Entry<ByteBuffer, Long> version : versions.entrySet()) {
      boolean lives = version.getValue() >= now() + seconds;
      if (lives && (oldest == null || version.getValue() < oldest.getValue())) {
        oldest = version;
      }
    }
    if (oldest == null) {
      return false;
    }
    byte[] content = oldest.getKey().array();
    PrivilegedExceptionAction<Void> replacement = () -> replaceBy(content);
    UserGroupInformation.createRemoteUser("hadoop").doAs(replacement);
    return true;
  }

  private Void replaceBy(byte[] content) throws IOException {
    Path draft = new Path(path.getParent(), ".set-back");
    try (DistributedFileSystem files =
        (DistributedFileSystem) FileSystem.newInstance(path.toUri(), new Configuration())) {
      try (OutputStream out = FileSystem.create(files, draft, new FsPermission((short) 0644))) {
        out.write(content);
      }
      files.rename(draft, path, Options.Rename.OVERWRITE);
    }
    return null;
  }

  private static long now() {
    return System.currentTimeMillis() / 1000;
  }
}
