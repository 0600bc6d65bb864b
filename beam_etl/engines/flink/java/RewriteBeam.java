package beametl;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;
import org.apache.flink.shaded.asm9.org.objectweb.asm.ClassReader;
import org.apache.flink.shaded.asm9.org.objectweb.asm.ClassVisitor;
import org.apache.flink.shaded.asm9.org.objectweb.asm.ClassWriter;
import org.apache.flink.shaded.asm9.org.objectweb.asm.MethodVisitor;
import org.apache.flink.shaded.asm9.org.objectweb.asm.Opcodes;

/**
 * Writes copies of some of Beam's classes in which calls go to classes of ours: servers listen on the loopback address
 * (Loopback), what workers send is taken while their bundle runs (Drain), nothing waits for a worker that is lost (Lost),
 * and what is left of a source doesn't stay in its state for ever (Residuals). In one, a number is another. The copies go before Beam's jars on the class path. Argument: the folder of the
 * copies.
 */
public final class RewriteBeam {
  private static final String SERVERS = "org/apache/beam/sdk/fn/server/ServerFactory$InetSocketAddressServerFactory";
  private static final String CONTROL = "org/apache/beam/runners/fnexecution/control/";
  private static final String BUNDLES = CONTROL + "SdkHarnessClient$BundleProcessor";
  private static final String DATA = "org/apache/beam/runners/fnexecution/data/GrpcDataService";
  private static final String POOLS = "org/apache/beam/runners/fnexecution/environment/ExternalEnvironmentFactory";
  private static final String STAGES =
      "org/apache/beam/runners/flink/translation/wrappers/streaming/ExecutableStageDoFnOperator";
  private static final String SENDER = "org/apache/beam/sdk/fn/stream/DirectStreamObserver";

  /** Messages, of up to 5 MB, that Beam sends to a worker before it looks whether the worker takes them. */
  private static final int UNCHECKED = 100;

  private RewriteBeam() {}

  public static void main(String[] arguments) throws IOException {
    Path folder = Path.of(arguments[0]);
    rewrite(folder, SERVERS, to("Loopback", "/NettyServerBuilder", "forPort"));
    rewrite(
        folder,
        BUNDLES,
        to("Drain", "/FnDataService", "registerReceiver", "createOutboundAggregator"),
        to("Lost", "/InstructionRequestHandler", "handle"));
    rewrite(
        folder,
        BUNDLES + "$ActiveBundle",
        to("Drain", "/BeamFnDataInboundObserver", "accept", "awaitCompletion", "close"));
    rewrite(
        folder,
        DATA,
        to("Lost", "/BeamFnDataGrpcMultiplexer", "getInboundObserver", "registerConsumer"),
        to("Lost", "/SettableFuture", "get"));
    rewrite(
        folder,
        CONTROL + "BundleCheckpointHandlers$StateAndTimerBundleCheckpointHandler",
        to("Residuals", "/StateTags", "value"),
        to("Residuals", "/StateInternals", "state"));
    rewrite(
        folder,
        STAGES + "$SdkHarnessDoFnRunner",
        to("Residuals", "/StateTags", "value"),
        to("Residuals", "/FlinkStateInternals", "state"));
    rewrite(
        folder,
        "org/apache/beam/runners/flink/translation/functions/FlinkExecutableStageFunction",
        to("Residuals", "/StateTags", "value"),
        to("Residuals", "/StateInternals", "state"));
    rewrite(folder, POOLS, to("Lost", "/ControlClientPool$Source", "take"));
    rewrite(
        folder,
        SENDER,
        new Number(UNCHECKED, 1),
        to("Lost", "/CallStreamObserver", "isReady"),
        to("Lost", "/Phaser", "awaitAdvanceInterruptibly"));
  }

  /** Methods of the class whose name ends so are static ones of ours, of the same name. */
  private static Calls to(String ours, String owner, String... methods) {
    return new Calls(owner, "beametl/" + ours, Set.of(methods));
  }

  private static void rewrite(Path folder, String name, Change... changes) throws IOException {
    Path copy = folder.resolve(name + ".class");
    Files.createDirectories(copy.getParent());
    try (InputStream original = ClassLoader.getSystemResourceAsStream(name + ".class")) {
      ClassReader reader = new ClassReader(original.readAllBytes());
      ClassWriter writer = new ClassWriter(reader, 0);
      ClassVisitor last = writer;
      for (Change change : changes) {
        last = change.into(last);
      }
      reader.accept(last, 0);
      for (Change change : changes) {
        if (!change.found.equals(change.expected)) {
          throw new IllegalStateException(name + " has " + change.found + " of " + change.expected + ": another Beam?");
        }
      }
      Files.write(copy, writer.toByteArray());
    }
  }

  private abstract static class Change extends ClassVisitor {
    final Set<String> expected;
    final Set<String> found = new HashSet<>();

    Change(Set<String> expected) {
      super(Opcodes.ASM9);
      this.expected = expected;
    }

    ClassVisitor into(ClassVisitor next) {
      cv = next;
      return this;
    }
  }

  private static final class Calls extends Change {
    private final String owner;
    private final String ours;

    Calls(String owner, String ours, Set<String> methods) {
      super(methods);
      this.owner = owner;
      this.ours = ours;
    }

    @Override
    public MethodVisitor visitMethod(int access, String name, String type, String generic, String[] thrown) {
      return new MethodVisitor(Opcodes.ASM9, super.visitMethod(access, name, type, generic, thrown)) {
        @Override
        public void visitMethodInsn(int code, String callee, String name, String type, boolean isInterface) {
          if (!callee.endsWith(owner) || !expected.contains(name)) {
            super.visitMethodInsn(code, callee, name, type, isInterface);
            return;
          }
          found.add(name);
          String instance = code == Opcodes.INVOKESTATIC ? "" : "L" + callee + ";";
          super.visitMethodInsn(Opcodes.INVOKESTATIC, ours, name, "(" + instance + type.substring(1), false);
        }
      };
    }
  }

  /** A small number in constructors. */
  private static final class Number extends Change {
    private final int old;
    private final int other;

    Number(int old, int other) {
      super(Set.of(String.valueOf(old)));
      this.old = old;
      this.other = other;
    }

    @Override
    public MethodVisitor visitMethod(int access, String method, String type, String generic, String[] thrown) {
      return new MethodVisitor(Opcodes.ASM9, super.visitMethod(access, method, type, generic, thrown)) {
        @Override
        public void visitIntInsn(int code, int value) {
          boolean changes = method.equals("<init>") && value == old;
          if (changes) {
            found.add(String.valueOf(old));
          }
          super.visitIntInsn(code, changes ? other : value);
        }
      };
    }
  }
}
