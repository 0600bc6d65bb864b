package beametl;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.shaded.asm9.org.objectweb.asm.ClassReader;
import org.apache.flink.shaded.asm9.org.objectweb.asm.ClassVisitor;
import org.apache.flink.shaded.asm9.org.objectweb.asm.ClassWriter;
import org.apache.flink.shaded.asm9.org.objectweb.asm.MethodVisitor;
import org.apache.flink.shaded.asm9.org.objectweb.asm.Opcodes;

/**
 * Writes a copy of Beam's server factory in which every call of NettyServerBuilder.forPort is one of Loopback.forPort.
 * The copy goes before Beam's jar on the class path. Argument: the folder of the copy.
 */
public final class BindLoopback {
  private static final String FACTORY =
      "org/apache/beam/sdk/fn/server/ServerFactory$InetSocketAddressServerFactory.class";

  private BindLoopback() {}

  public static void main(String[] arguments) throws IOException {
    Path copy = Path.of(arguments[0], FACTORY);
    Files.createDirectories(copy.getParent());
    try (InputStream original = ClassLoader.getSystemResourceAsStream(FACTORY)) {
      Files.write(copy, rewritten(original.readAllBytes()));
    }
  }

  private static byte[] rewritten(byte[] original) {
    ClassReader reader = new ClassReader(original);
    ClassWriter writer = new ClassWriter(reader, 0);
    Calls calls = new Calls(writer);
    reader.accept(calls, 0);
    if (calls.found == 0) {
      throw new IllegalStateException("no call of forPort in " + FACTORY + ": it would listen on every address");
    }
    return writer.toByteArray();
  }

  private static final class Calls extends ClassVisitor {
    private int found;

    Calls(ClassVisitor next) {
      super(Opcodes.ASM9, next);
    }

    @Override
    public MethodVisitor visitMethod(int access, String name, String type, String generic, String[] thrown) {
      return new MethodVisitor(Opcodes.ASM9, super.visitMethod(access, name, type, generic, thrown)) {
        @Override
        public void visitMethodInsn(int code, String owner, String name, String type, boolean isInterface) {
          boolean binds = name.equals("forPort") && owner.endsWith("/NettyServerBuilder");
          found += binds ? 1 : 0;
          super.visitMethodInsn(code, binds ? "beametl/Loopback" : owner, name, type, isInterface);
        }
      };
    }
  }
}
