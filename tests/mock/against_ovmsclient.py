"""The mock with both clients of ovmsclient, unmodified: status, metadata and
predictions, over gRPC and over REST.
"""

import unittest

import numpy as np
import ovmsclient

from process import MODELS, mock


class AgainstOvmsclient(unittest.TestCase):
    """A mock of the exported models."""

    @classmethod
    def setUpClass(cls):
        cls.server = mock("--models", str(MODELS))
        grpc, rest = cls.server.__enter__()
        cls.grpc = ovmsclient.make_grpc_client(grpc)
        cls.rest = ovmsclient.make_http_client(rest)

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def test_status(self):
        for client in (self.grpc, self.rest):
            for version in (123, 124):
                status = client.get_model_status(
                    "half_plus_two", model_version=version)
                self.assertEqual(status, {version: {
                    "state": "AVAILABLE", "error_code": 0,
                    "error_message": "" if client is self.grpc else
                    status[version]["error_message"]}})
            # Without a version it asks for 0, which TensorFlow Serving has
            # none of, other than the server that the client is made for.
            with self.assertRaises(ovmsclient.ModelNotFoundError):
                client.get_model_status("half_plus_two")

    def test_metadata(self):
        metadata = self.grpc.get_model_metadata("iris", model_version=1)
        self.assertEqual(metadata["model_version"], 1)
        self.assertEqual(metadata["inputs"], {
            "measurements": {"shape": [-1, 4], "dtype": "DT_FLOAT"}})
        output, = metadata["outputs"].values()
        self.assertEqual(output, {"shape": [-1, 3], "dtype": "DT_FLOAT"})
        # It looks for the names of its own server, and gives what TensorFlow
        # Serving answers as it is.
        told = self.rest.get_model_metadata("iris", model_version=1)
        signatures = told["metadata"]["signature_def"]["signature_def"]
        tensor = signatures["serving_default"]["inputs"]["measurements"]
        self.assertEqual(tensor["dtype"], "DT_FLOAT")
        self.assertEqual([dim["size"] for dim in tensor["tensor_shape"]["dim"]],
                         ["-1", "4"])

    def test_predictions(self):
        flowers = np.array([[5.1, 3.5, 1.4, 0.2], [6.4, 3.2, 4.5, 1.5]],
                           np.float32)
        answers = []
        for client in (self.grpc, self.rest):
            answer = np.array(client.predict(
                {"measurements": flowers}, "iris", model_version=1))
            self.assertEqual(answer.shape, (2, 3))
            answers.append(answer)
            for row in range(2):
                alone = client.predict({"measurements": flowers[row:row + 1]},
                                       "iris", model_version=1)
                np.testing.assert_array_equal(np.array(alone)[0], answer[row])
        np.testing.assert_allclose(*answers, rtol=1e-6)
        for client in (self.grpc, self.rest):
            words = client.predict({"text": [b"one", b"two"]}, "text",
                                   model_version=1)
            self.assertEqual(sorted(words), ["lengths", "upper"])
            self.assertEqual(len(words["upper"]), 2)

    def test_refusals(self):
        for client in (self.grpc, self.rest):
            with self.assertRaises(ovmsclient.ModelNotFoundError) as caught:
                client.predict({"x": [1.0]}, "nothing", model_version=1)
            self.assertIn("Servable not found", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
