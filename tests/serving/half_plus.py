"""Exports `half_plus_two` and `half_plus_three`, the models of TensorFlow
Serving's own tests, as a TensorFlow 1 style graph with named tensors.

The graph takes any shape, as the original does: the declared shape [-1, 1] is
only what the signature says. It never trains or reads anything.
"""

import tensorflow as tf

v1 = tf.compat.v1
SAVED = v1.saved_model


def graph(addend):
    """Builds y = x/2 + n, y2 = x/2 + n + 1 and y3 = x2/2 + n + 1."""
    serialized = v1.placeholder(tf.string, name="tf_example")
    features = v1.parse_example(serialized, {
        "x": tf.io.FixedLenFeature([1], tf.float32),
        "x2": tf.io.FixedLenFeature([1], tf.float32, default_value=[0.0]),
    })
    # No static shape, so that a caller may feed the tensors with any.
    x = v1.placeholder_with_default(features["x"], None, name="x")
    x2 = v1.placeholder_with_default(features["x2"], None, name="x2")
    half = v1.get_variable("a", initializer=0.5)
    lesser = v1.get_variable("b", initializer=float(addend))
    greater = v1.get_variable("c", initializer=float(addend) + 1.0)
    tf.add(half * x, lesser, name="y")
    tf.add(half * x, greater, name="y2")
    tf.add(half * x2, greater, name="y3")


def info(name, dtype="DT_FLOAT", shape=(-1, 1)):
    """Describes a tensor as the signature declares it (None: any rank)."""
    if shape is None:
        declared = tf.TensorShape(None).as_proto()
    else:
        declared = tf.TensorShape(
            [None if size < 0 else size for size in shape]).as_proto()
    return tf.compat.v1.TensorInfo(
        name=name, dtype=dtype, tensor_shape=declared)


def signature(method, inputs, outputs):
    """Puts a signature together for one of the methods of Serving."""
    return SAVED.build_signature_def(
        inputs, outputs, f"tensorflow/serving/{method}")


def signatures():
    """All signatures, under the names of TensorFlow Serving's test model."""
    example = {"inputs": info("tf_example:0", "DT_STRING", None)}
    x2 = {"inputs": info("x2:0")}
    return {
        "serving_default": signature(
            "predict", {"x": info("x:0")}, {"y": info("y:0")}),
        "regress_x_to_y": signature(
            "regress", example, {"outputs": info("y:0")}),
        "regress_x_to_y2": signature(
            "regress", example, {"outputs": info("y2:0")}),
        "regress_x2_to_y3": signature(
            "regress", x2, {"outputs": info("y3:0")}),
        "classify_x_to_y": signature(
            "classify", example, {"scores": info("y:0")}),
        "classify_x2_to_y3": signature(
            "classify", x2, {"scores": info("y3:0")}),
    }


def export(directory, addend):
    """Writes one version of the model."""
    with tf.Graph().as_default(), v1.Session() as session:
        graph(addend)
        session.run(v1.global_variables_initializer())
        builder = SAVED.Builder(str(directory))
        builder.add_meta_graph_and_variables(
            session, [SAVED.tag_constants.SERVING], signatures())
        builder.save()
