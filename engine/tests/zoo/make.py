"""Makes the zoo: models of each operator of the table of classes in many widths, and random graphs of them, as .onnx files.

    python3 engine/tests/zoo/make.py FOLDER

Run by `.ci/parts/zoo`. The same files on every run.
"""

import common
import graphs
import operators

operators.make()
operators.make_large()
graphs.make()
print(f"{len(list(common.FOLDER.glob('*.onnx')))} models")
