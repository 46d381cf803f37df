import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.security.Credentials;
import org.apache.hadoop.security.token.Token;
import org.apache.hadoop.security.token.TokenIdentifier;
import org.apache.hadoop.yarn.security.DockerCredentialTokenIdentifier;
import org.apache.hadoop.yarn.util.DockerClientConfigHandler;

/**
 * Treats a published config.json as a NodeManager does at a container launch, with YARN's own class: reads it, and
 * writes what Docker receives to {@code DIR/config.json}.
 *
 * <p>{@code once URI DIR} reads once; {@code serve} answers lines {@code URI<TAB>DIR} on standard input.
 * Each response is one line of JSON, {@code {"registries":[...]}} or {@code {"error":CLASS,"message":TEXT}}.
 * The handler never closes its stream, so one process survives hundreds of reads, but not thousands.
 */
public final class YarnReader {
  private static final String CONTAINER = "container_1700000000000_0001_01_000002";
  private static final ObjectMapper JSON = new ObjectMapper();

  private YarnReader() {}

  public static void main(String[] args) throws IOException {
    Configuration conf = new Configuration();
    if (args.length == 3 && args[0].equals("once")) {
      Map<String, Object> answer = launch(conf, args[1], args[2]);
      System.out.println(JSON.writeValueAsString(answer));
      System.exit(answer.containsKey("error") ? 1 : 0);
    } else if (args.length == 1 && args[0].equals("serve")) {
      serve(conf);
    } else {
      System.err.println("usage: YarnReader once URI DIR | YarnReader serve");
      System.exit(64);
    }
  }

  private static void serve(Configuration conf) throws IOException {
    BufferedReader requests =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = requests.readLine(); line != null; line = requests.readLine()) {
      String[] request = line.split("\t", -1);
      Map<String, Object> answer =
          request.length == 2
              ? launch(conf, request[0], request[1])
              : failure(new IllegalArgumentException("not URI<TAB>DIR"));
      System.out.println(JSON.writeValueAsString(answer));
      System.out.flush();
    }
  }

  private static Map<String, Object> launch(Configuration conf, String uri, String dir) {
    try {
      Credentials credentials =
          DockerClientConfigHandler.readCredentialsFromConfigFile(new Path(uri), conf, CONTAINER);
      DockerClientConfigHandler.writeDockerCredentialsToPath(
          new File(dir, "config.json"), credentials);
      Map<String, Object> answer = new LinkedHashMap<>();
      answer.put("registries", registries(credentials));
      return answer;
    } catch (Exception e) {
      return failure(e);
    }
  }

  private static List<String> registries(Credentials credentials) throws IOException {
    List<String> names = new ArrayList<>();
    for (Token<? extends TokenIdentifier> token : credentials.getAllTokens()) {
      TokenIdentifier identifier = token.decodeIdentifier();
      if (identifier instanceof DockerCredentialTokenIdentifier) {
        names.add(((DockerCredentialTokenIdentifier) identifier).getRegistryUrl());
      }
    }
    names.sort(null);
    return names;
  }

  private static Map<String, Object> failure(Exception e) {
    Map<String, Object> answer = new LinkedHashMap<>();
    answer.put("error", e.getClass().getName());
    answer.put("message", e.getMessage());
    return answer;
  }
}
