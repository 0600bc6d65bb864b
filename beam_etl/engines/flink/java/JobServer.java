package beametl;

import org.apache.beam.runners.flink.FlinkJobServerDriver;

/**
 * Beam's job server. It would upload its class path, 200 MB, with each job, though the task managers have the same jars:
 * what it uploads is read from java.class.path, so that is emptied first.
 */
public final class JobServer {
  private JobServer() {}

  public static void main(String[] arguments) throws Exception {
    System.setProperty("java.class.path", "/dev/null");
    FlinkJobServerDriver.main(arguments);
  }
}
