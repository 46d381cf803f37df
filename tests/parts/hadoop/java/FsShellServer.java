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
import org.apache.hadoop.hdfs.tools.DFSAdmin;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.hadoop.util.ToolRunner;

/**
 * Runs {@code hadoop fs} and {@code hdfs dfsadmin} on request, one command at a time, which saves callers a JVM start
 * per command.
 *
 * <p>Prints the loopback port it listens on. A request is a line {@code {"user":NAME,"program":"fs","args":[...]}},
 * or with {@code dfsadmin}; the response is a line {@code {"status":N,"out":TEXT,"err":TEXT}}; then the connection
 * closes. A caller that dies, sends nothing or sends something else does not affect other callers.
 */
public final class FsShellServer {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final PrintStream STDOUT = System.out;
  private static final PrintStream STDERR = System.err;
  private static final int REQUEST_MILLIS = 10_000;

  private FsShellServer() {}

  public static void main(String[] args) throws IOException {
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
    if (!request.hasNonNull("user") || !request.hasNonNull("args")) {
      throw new IOException("not a request: " + line);
    }
    FsShell program = program(request.path("program").asText());
    String[] args = JSON.convertValue(request.get("args"), String[].class);
    Map<String, Object> answer = run(request.get("user").asText(), program, args);
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

  /** One command at a time: the shell prints to the process's standard streams, which this redirects meanwhile. */
  private static synchronized Map<String, Object> run(String user, FsShell program, String[] args)
      throws IOException, InterruptedException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    UserGroupInformation identity = UserGroupInformation.createRemoteUser(user);
    System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
    System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
    try {
      PrivilegedExceptionAction<Integer> shell =
          () -> ToolRunner.run(new Configuration(), program, args);
      Map<String, Object> answer = new LinkedHashMap<>();
      answer.put("status", identity.doAs(shell));
      answer.put("out", out.toString(StandardCharsets.UTF_8));
      answer.put("err", err.toString(StandardCharsets.UTF_8));
      return answer;
    } finally {
      System.setOut(STDOUT);
      System.setErr(STDERR);
      FileSystem.closeAllForUGI(identity);
    }
  }
}
