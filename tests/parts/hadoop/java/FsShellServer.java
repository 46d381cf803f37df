import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.security.PrivilegedExceptionAction;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.FsShell;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.hdfs.tools.DFSAdmin;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.hadoop.util.ToolRunner;
import org.slf4j.LoggerFactory;

/**
 * Runs {@code hadoop fs} and {@code hdfs dfsadmin} on request, for any number of file systems, which saves callers a
 * JVM start per command.
 *
 * <p>Prints the loopback port it listens on. A request is a line
 * {@code {"conf":DIRECTORY,"user":NAME,"program":"fs","args":[...]}}, or with {@code dfsadmin}; the response is a line
 * {@code {"status":N,"out":TEXT,"err":TEXT}}; then the connection closes. A caller that dies, sends nothing or sends
 * something else does not affect other callers.
 */
public final class FsShellServer {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final PrintStream STDOUT = System.out;
  private static final PrintStream STDERR = System.err;
  private static final ThreadLocal<OutputStream> OUT = ThreadLocal.withInitial(() -> STDOUT);
  private static final ThreadLocal<OutputStream> ERR = ThreadLocal.withInitial(() -> STDERR);
  private static final int REQUEST_MILLIS = 10_000;

  private FsShellServer() {}

  public static void main(String[] args) throws IOException {
    // Whatever is logged goes where the standard error goes when logging begins.
    LoggerFactory.getLogger(FsShellServer.class);
    System.setOut(ofThread(OUT));
    System.setErr(ofThread(ERR));
    try (ServerSocket listener = new ServerSocket(0, 64, InetAddress.getLoopbackAddress())) {
      STDOUT.println(listener.getLocalPort());
      STDOUT.flush();
      while (true) {
        Socket caller = listener.accept();
        new Thread(() -> serve(caller)).start();
      }
    }
  }

  private static void serve(Socket caller) {
    try (caller) {
      caller.setSoTimeout(REQUEST_MILLIS);
      answer(caller);
    } catch (Exception e) {
      STDERR.println("no answer to a caller: " + e);
    }
  }

  private static void answer(Socket caller) throws IOException, InterruptedException {
    BufferedReader in =
        new BufferedReader(new InputStreamReader(caller.getInputStream(), StandardCharsets.UTF_8));
    String line = in.readLine();
    if (line == null) {
      return;
    }
    JsonNode request = JSON.readTree(line);
    if (!request.hasNonNull("conf") || !request.hasNonNull("user") || !request.hasNonNull("args")) {
      throw new IOException("not a request: " + line);
    }
    FsShell program = program(request.path("program").asText());
    String[] args = JSON.convertValue(request.get("args"), String[].class);
    Configuration conf = new Configuration();
    for (String name : new String[] {"core-site.xml", "hdfs-site.xml"}) {
      conf.addResource(new Path("file:" + request.get("conf").asText(), name));
    }
    Map<String, Object> answer = run(request.get("user").asText(), program, conf, args);
    OutputStream out = caller.getOutputStream();
    out.write((JSON.writeValueAsString(answer) + "\n").getBytes(StandardCharsets.UTF_8));
    out.flush();
  }

  private static FsShell program(String name) throws IOException {
    switch (name) {
      case "fs":
        return new FsShell();
      case "dfsadmin":
        return new DFSAdmin();
      default:
        throw new IOException("not a program: " + name);
    }
  }

  /** The shells print to the process's standard streams, of which every thread has its own. */
  private static Map<String, Object> run(
      String user, FsShell program, Configuration conf, String[] args)
      throws IOException, InterruptedException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    UserGroupInformation identity = UserGroupInformation.createRemoteUser(user);
    OUT.set(out);
    ERR.set(err);
    try {
      PrivilegedExceptionAction<Integer> shell = () -> ToolRunner.run(conf, program, args);
      Map<String, Object> answer = new LinkedHashMap<>();
      answer.put("status", identity.doAs(shell));
      System.out.flush();
      System.err.flush();
      answer.put("out", out.toString(StandardCharsets.UTF_8));
      answer.put("err", err.toString(StandardCharsets.UTF_8));
      return answer;
    } finally {
      OUT.remove();
      ERR.remove();
      FileSystem.closeAllForUGI(identity);
    }
  }

  /** A stream that passes everything to the stream of the thread that prints. */
  private static PrintStream ofThread(ThreadLocal<OutputStream> streams) {
    OutputStream current =
        new OutputStream() {
          @Override
          public void write(int b) throws IOException {
            streams.get().write(b);
          }

          @Override
          public void write(byte[] bytes, int offset, int length) throws IOException {
            streams.get().write(bytes, offset, length);
          }

          @Override
          public void flush() throws IOException {
            streams.get().flush();
          }
        };
    return new PrintStream(current, true, StandardCharsets.UTF_8);
  }
}
